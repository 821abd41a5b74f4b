// Command h2-peer asks an HTTP/2 server as Go's net/http does, and ends with an error where something is not as it should be.
//
// The upstream behind the server answers with the method, the target and the body of what it is asked.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

func main() {
	address := flag.String("address", "", "where the server listens")
	host := flag.String("host", "", "the name it is asked by")
	bundle := flag.String("bundle", "", "PEM file that it is verified against")
	requests := flag.Int("requests", 500, "how many, at once")
	flag.Parse()

	pem, err := os.ReadFile(*bundle)
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, *address)
		},
	}
	client := &http.Client{Transport: transport, Timeout: 60 * time.Second}
	base := "https://" + *host

	many(client, base, *requests)
	uploads(client, base)
	refused(client, base)
	takenBack(client, base)
	fmt.Println("ok")
}

// many requests at once: more than the server lets be under way, so that some have to wait.
func many(client *http.Client, base string, count int) {
	var group sync.WaitGroup
	for number := range count {
		group.Add(1)
		go func() {
			defer group.Done()
			path := fmt.Sprintf("/many/%d?q=%d", number, number)
			response, body := done(client.Get(base + path))
			if want := "GET " + path + " "; response.ProtoMajor != 2 || string(body) != want {
				log.Fatalf("%s %s: %q", path, response.Proto, body)
			}
		}()
	}
	group.Wait()
}

// uploads with a length and without one.
func uploads(client *http.Client, base string) {
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for name, reader := range map[string]io.Reader{"sized": bytes.NewReader(large), "unknown": io.MultiReader(bytes.NewReader(large))} {
		response, body := done(client.Post(base+"/"+name, "text/plain", reader))
		want := append([]byte("POST /"+name+" "), large...)
		if response.StatusCode != 200 || !bytes.Equal(body, want) {
			log.Fatalf("%s: status %d, %d bytes", name, response.StatusCode, len(body))
		}
	}
}

// refused uploads have an answer, although it comes before their end.
func refused(client *http.Client, base string) {
	for range 10 {
		response, _ := done(client.Post(base+"/refused", "text/plain", io.LimitReader(&zeros{}, 20<<20)))
		if response.StatusCode != 413 {
			log.Fatalf("refused: status %d", response.StatusCode)
		}
	}
}

type zeros struct{}

func (*zeros) Read(into []byte) (int, error) { return len(into), nil }

// takenBack requests leave the connection in order.
func takenBack(client *http.Client, base string) {
	for number := range 50 {
		ctx, cancel := context.WithCancel(context.Background())
		request, _ := http.NewRequestWithContext(ctx, "POST", base+"/taken-back", io.MultiReader(&endless{}))
		time.AfterFunc(time.Duration(number)*time.Millisecond, cancel)
		if _, err := client.Do(request); !errors.Is(err, context.Canceled) {
			log.Fatalf("taken back: %v", err)
		}
	}
	if response, _ := done(client.Get(base + "/after")); response.StatusCode != 200 {
		log.Fatal("nothing is served after requests that were taken back")
	}
}

type endless struct{}

func (*endless) Read(into []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return min(len(into), 1000), nil
}

func done(response *http.Response, err error) (*http.Response, []byte) {
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		log.Fatal(err)
	}
	return response, body
}
