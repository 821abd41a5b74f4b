// Command load asks one HTTPS server for the same thing over and over, and prints what came of it as JSON.
//
// It prints "ready" when its connections are open and each was used, begins when it reads a line, prints the result with
// all connections still open, and ends when its input does: whoever looks at the server's processor time at those moments
// sees neither handshakes nor closes that are not part of the question.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// So many connections are opened at a time: a thousand handshakes at once would leave a mark in a server's memory.
const opening = 8

type result struct {
	Requests int     `json:"requests"`
	Errors   int     `json:"errors"`
	Error    string  `json:"error"` // the first
	Seconds  float64 `json:"seconds"`
	P50      float64 `json:"p50"` // milliseconds
	P99      float64 `json:"p99"`
	TLS      string  `json:"tls"`
}

// A worker is one client; it makes requests one after the other.
type worker struct {
	client *client
	ask    asking
	times  []time.Duration
	errors int
	first  error
}

func main() {
	log.SetFlags(0)
	mode := flag.String("mode", "keepalive", "keepalive, browser, connect, download, upload, post, websocket, idle, h2, h2-browser, h2-page, h2-download or h2-idle")
	address := flag.String("address", "", "HOST:PORT to connect to")
	host := flag.String("host", "", "name to ask for")
	root := flag.String("root", "", "PEM file of the root that the certificate must chain to")
	connections := flag.Int("connections", 32, "clients at a time")
	seconds := flag.Float64("seconds", 1.5, "how long; the last requests are completed")
	count := flag.Int("count", 0, "so many requests of each client instead")
	flag.Parse()

	pem, err := os.ReadFile(*root)
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	// One group for all: what a server and its TLS library choose by themselves differs by more than the servers do.
	config := &tls.Config{
		ServerName:       *host,
		RootCAs:          roots,
		MinVersion:       tls.VersionTLS13,
		NextProtos:       []string{"http/1.1"},
		CurvePreferences: []tls.CurveID{tls.X25519},
	}
	if strings.HasPrefix(*mode, "h2") {
		config.NextProtos = []string{"h2"}
	}
	ask, found := askings[*mode]
	if !found {
		log.Fatalf("no mode %q", *mode)
	}
	workers := make([]*worker, *connections)
	each(len(workers), opening, func(index int) {
		one := &worker{client: newClient(*address, *host, config), ask: ask(*host, index)}
		if _, err := one.client.use(one.ask); err != nil {
			log.Fatal(err)
		}
		workers[index] = one
	})
	fmt.Println("ready")
	input := bufio.NewReader(os.Stdin)
	if _, err := input.ReadString('\n'); err != nil {
		return
	}
	began := time.Now()
	until := began.Add(time.Duration(*seconds * float64(time.Second)))
	each(len(workers), len(workers), func(index int) { workers[index].run(until, *count) })
	if err := json.NewEncoder(os.Stdout).Encode(summary(workers, time.Since(began))); err != nil {
		log.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, input)
}

// each calls `do` for all numbers, for at most so many at a time.
func each(count, most int, do func(index int)) {
	var group sync.WaitGroup
	places := make(chan struct{}, most)
	for index := range count {
		places <- struct{}{}
		group.Go(func() {
			do(index)
			<-places
		})
	}
	group.Wait()
}

func (one *worker) run(until time.Time, count int) {
	for made := 0; ; made++ {
		began := time.Now()
		if (count > 0 && made >= count) || (count == 0 && !began.Before(until)) {
			return
		}
		took, err := one.client.use(one.ask)
		if err != nil {
			if one.errors++; one.first == nil {
				one.first = err
			}
			if one.errors > 100 {
				return
			}
			continue
		}
		if took == 0 {
			took = time.Since(began)
		}
		one.times = append(one.times, took)
	}
}

func summary(workers []*worker, took time.Duration) result {
	found := result{Seconds: took.Seconds(), TLS: workers[0].client.description}
	var times []time.Duration
	for _, one := range workers {
		times = append(times, one.times...)
		found.Errors += one.errors
		if one.first != nil && found.Error == "" {
			found.Error = one.first.Error()
		}
	}
	found.Requests = len(times)
	if slices.Sort(times); len(times) > 0 {
		found.P50 = times[len(times)/2].Seconds() * 1000
		found.P99 = times[len(times)*99/100].Seconds() * 1000
	}
	return found
}
