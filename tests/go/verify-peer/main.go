// verify-peer says what Go thinks of servers' certificates: verify-peer ROOT.pem NAME SERVER.pem …
package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

func main() {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(read(os.Args[1])) {
		fail(fmt.Errorf("no root in %s", os.Args[1]))
	}
	for at := 2; at+1 < len(os.Args); at += 2 {
		name, leaf := os.Args[at], first(read(os.Args[at+1]))
		_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name})
		if err == nil {
			fmt.Println(name, "ok")
		} else {
			fmt.Println(name, err)
		}
	}
}

func first(text []byte) *x509.Certificate {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			certificate, err := x509.ParseCertificate(block.Bytes)
			fail(err)
			return certificate
		}
	}
	fail(fmt.Errorf("no certificate"))
	return nil
}

func read(file string) []byte {
	text, err := os.ReadFile(file)
	fail(err)
	return text
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
