// Command autocert-peer is what a Go program with autocert is: it obtains, keeps and serves certificates by itself.
//
// The tests run it on the same cache directory as proxyd, in turns. It says "serving" on stdout when it listens, and
// ends when stdin does.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

func main() {
	directory := flag.String("directory", "", "URL of the ACME directory")
	bundle := flag.String("bundle", "", "PEM file that the CA's API is verified against")
	cache := flag.String("cache", "", "the DirCache")
	https := flag.String("https", "", "address for TLS")
	plain := flag.String("http", "", "address for HTTP-01; empty: only TLS-ALPN-01")
	flag.Parse()

	pem, err := os.ReadFile(*bundle)
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	manager := &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      autocert.DirCache(*cache),
		HostPolicy: autocert.HostWhitelist(flag.Args()...),
		Client:     &acme.Client{DirectoryURL: *directory, HTTPClient: &http.Client{Transport: transport}},
	}
	if *plain != "" {
		listener, err := net.Listen("tcp", *plain)
		if err != nil {
			log.Fatal(err)
		}
		go func() { log.Fatal(http.Serve(listener, manager.HTTPHandler(nil))) }()
	}
	listener, err := tls.Listen("tcp", *https, manager.TLSConfig())
	if err != nil {
		log.Fatal(err)
	}
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "autocert", r.Host) })
	go func() { log.Fatal(http.Serve(listener, hello)) }()
	fmt.Println("serving")
	io.Copy(io.Discard, os.Stdin)
}
