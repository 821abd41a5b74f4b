// Command tls-peer makes one HTTPS request as a Go program would, and prints what came of it as JSON.
//
// With -first it makes one to another name before, and offers the session of that one to the second: what a client that
// means no good would do.
package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

type outcome struct {
	Status  int    `json:"status"`  // 0: no answer
	Alert   string `json:"alert"`   // what the server said instead
	Error   string `json:"error"`   // any other end
	Resumed bool   `json:"resumed"` // the session that was offered was taken
	Version string `json:"version"`
	Body    string `json:"body"`
}

// One session for all names: crypto/tls keeps them apart, an attacker does not.
type sessions struct{ last *tls.ClientSessionState }

func (one *sessions) Get(string) (*tls.ClientSessionState, bool) { return one.last, one.last != nil }
func (one *sessions) Put(_ string, state *tls.ClientSessionState) {
	if state != nil {
		one.last = state
	}
}

func main() {
	log.SetFlags(0)
	address := flag.String("address", "", "HOST:PORT to connect to")
	name := flag.String("name", "", "server name to send; empty: none")
	host := flag.String("host", "", "Host to ask for")
	version := flag.String("version", "1.3", "the TLS version, the only one that is offered")
	pair := flag.String("certificate", "", "PEM file with the client's key and chain")
	protocol := flag.String("protocol", "http/1.1", "what ALPN offers")
	first := flag.String("first", "", "server name, and Host, of a request before")
	firstPair := flag.String("first-certificate", "", "as -certificate, for that one")
	flag.Parse()

	kept := &sessions{}
	if *first != "" {
		one := ask(*address, *first, *first, config(*first, *version, *firstPair, *protocol, kept))
		if one.Status == 0 || kept.last == nil {
			log.Fatalf("no session of %s: %+v", *first, one)
		}
	}
	found := ask(*address, *name, *host, config(*name, *version, *pair, *protocol, kept))
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		log.Fatal(err)
	}
}

func config(name, version, pair, protocol string, kept *sessions) *tls.Config {
	versions := map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
	made := &tls.Config{
		ServerName:         name,
		InsecureSkipVerify: true, // what the server lets in is looked at, not who it is
		MinVersion:         versions[version],
		MaxVersion:         versions[version],
		NextProtos:         []string{protocol},
		ClientSessionCache: kept,
	}
	if pair != "" {
		certificate, err := tls.LoadX509KeyPair(pair, pair)
		if err != nil {
			log.Fatal(err)
		}
		// Also to a server that does not name its CA.
		made.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
	}
	return made
}

func ask(address, name, host string, config *tls.Config) (found outcome) {
	raw, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	connection := tls.Client(raw, config)
	fail := func(err error) {
		var remote *net.OpError
		if errors.As(err, &remote) && remote.Op == "remote error" {
			found.Alert = strings.TrimPrefix(remote.Err.Error(), "tls: ")
		} else {
			found.Error = err.Error()
		}
	}
	if err := connection.Handshake(); err != nil {
		fail(err)
		return found
	}
	state := connection.ConnectionState()
	found.Resumed, found.Version = state.DidResume, tls.VersionName(state.Version)
	request, err := http.NewRequest("GET", "https://"+host+"/", nil)
	if err != nil {
		log.Fatal(err)
	}
	request.Close = true
	if err := request.Write(connection); err != nil {
		fail(err) // with TLS 1.3 the server's word on a client certificate may come here
		return found
	}
	answer, err := http.ReadResponse(bufio.NewReader(connection), request)
	if err != nil {
		fail(err)
		return found
	}
	body, _ := io.ReadAll(answer.Body)
	found.Status, found.Body = answer.StatusCode, string(body)
	return found
}
