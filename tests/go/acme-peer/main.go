// Command acme-peer obtains one certificate for each name of its arguments, as a Go program on x/crypto/acme would.
//
// bench/issue.py runs it beside proxyd on the same Pebble. It prints the seconds that all certificates together took.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
)

// answers are the pending HTTP-01 responses by path, and the pending TLS-ALPN-01 certificates by name.
var answers, proofs sync.Map

func main() {
	directory := flag.String("directory", "", "URL of the ACME directory")
	bundle := flag.String("bundle", "", "PEM file that the CA's API is verified against")
	kind := flag.String("challenge", "http-01", "http-01 or tls-alpn-01")
	listen := flag.String("listen", "", "address where the CA validates")
	out := flag.String("out", "", "directory for the certificates")
	concurrent := flag.Int("concurrent", 4, "orders at once")
	flag.Parse()

	client := &acme.Client{DirectoryURL: *directory, Key: newKey(), HTTPClient: httpClient(*bundle)}
	serve(*kind, *listen)
	began := time.Now()
	if _, err := client.Register(context.Background(), &acme.Account{}, acme.AcceptTOS); err != nil {
		log.Fatal(err)
	}
	names := make(chan string)
	var workers sync.WaitGroup
	for range *concurrent {
		workers.Go(func() {
			for name := range names {
				if err := issue(client, name, *kind, *out); err != nil {
					log.Fatalf("%s: %v", name, err)
				}
			}
		})
	}
	for _, name := range flag.Args() {
		names <- name
	}
	close(names)
	workers.Wait()
	fmt.Printf("%.3f\n", time.Since(began).Seconds())
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	return key
}

func httpClient(bundle string) *http.Client {
	content, err := os.ReadFile(bundle)
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(content)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: 8, ForceAttemptHTTP2: true,
	}}
}

func serve(kind, address string) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	if kind == "http-01" {
		go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if answer, ok := answers.Load(r.URL.Path); ok {
				w.Write([]byte(answer.(string)))
				return
			}
			http.NotFound(w, r)
		}))
		return
	}
	config := &tls.Config{
		NextProtos: []string{acme.ALPNProto},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if proof, ok := proofs.Load(hello.ServerName); ok {
				return proof.(*tls.Certificate), nil
			}
			return nil, fmt.Errorf("nothing is pending for %q", hello.ServerName)
		},
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				tls.Server(conn, config).Handshake()
			}()
		}
	}()
}

func issue(client *acme.Client, name, kind, out string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	order, err := client.AuthorizeOrder(ctx, acme.DomainIDs(name))
	if err != nil {
		return err
	}
	for _, url := range order.AuthzURLs {
		if err := authorize(ctx, client, url, name, kind); err != nil {
			return err
		}
	}
	if order, err = client.WaitOrder(ctx, order.URI); err != nil {
		return err
	}
	key := newKey()
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	if err != nil {
		return err
	}
	chain, _, err := client.CreateCertFromOrder(ctx, order, csr, true)
	if err != nil {
		return err
	}
	return keep(filepath.Join(out, name), key, chain)
}

func authorize(ctx context.Context, client *acme.Client, url, name, kind string) error {
	authorization, err := client.GetAuthorization(ctx, url)
	if err != nil || authorization.Status == acme.StatusValid {
		return err
	}
	for _, challenge := range authorization.Challenges {
		if challenge.Type != kind {
			continue
		}
		if err := publish(client, challenge.Token, name, kind); err != nil {
			return err
		}
		if _, err := client.Accept(ctx, challenge); err != nil {
			return err
		}
		_, err := client.WaitAuthorization(ctx, url)
		return err
	}
	return fmt.Errorf("the CA offers no %s", kind)
}

func publish(client *acme.Client, token, name, kind string) error {
	if kind == "http-01" {
		answer, err := client.HTTP01ChallengeResponse(token)
		answers.Store(client.HTTP01ChallengePath(token), answer)
		return err
	}
	proof, err := client.TLSALPN01ChallengeCert(token, name)
	proofs.Store(name, &proof)
	return err
}

// keep writes what autocert's DirCache would: the key, then the chain.
func keep(path string, key *ecdsa.PrivateKey, chain [][]byte) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	content := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	for _, one := range chain {
		content = append(content, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: one})...)
	}
	return os.WriteFile(path, content, 0o600)
}
