package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// An asking makes one request on an open connection and takes its answer; `took` is 0 when that was all it did, `closes`:
// the connection is of no use then.
type asking func(connection *tls.Conn, reader *bufio.Reader) (took time.Duration, closes bool, err error)

// A client has at most one connection, verified, never resumed.
type client struct {
	address     string
	config      *tls.Config
	connection  *tls.Conn
	reader      *bufio.Reader
	description string // of the TLS session
}

func newClient(address, host string, config *tls.Config) *client {
	return &client{address: address, config: config, reader: bufio.NewReaderSize(nil, 64<<10)}
}

// use makes a request, on a new connection if there is none.
func (one *client) use(ask asking) (time.Duration, error) {
	if one.connection == nil {
		if err := one.connect(); err != nil {
			return 0, err
		}
	}
	took, closes, err := ask(one.connection, one.reader)
	if closes || err != nil {
		_ = one.connection.Close()
		one.connection = nil
	}
	return took, err
}

func (one *client) connect() error {
	raw, err := net.DialTimeout("tcp", one.address, 30*time.Second)
	if err != nil {
		return err
	}
	_ = raw.SetDeadline(time.Now().Add(5 * time.Minute))
	connection := tls.Client(raw, one.config)
	if err := connection.Handshake(); err != nil {
		_ = raw.Close()
		return err
	}
	state := connection.ConnectionState()
	one.description = fmt.Sprintf("%s %s %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), state.CurveID)
	one.connection = connection
	one.reader.Reset(connection)
	return nil
}

// readAnswer takes a whole response, which must have status 200 and a length.
func readAnswer(reader *bufio.Reader) (closes bool, err error) {
	status, length, closes, err := readHead(reader)
	if err != nil {
		return false, err
	}
	if status != 200 || length < 0 {
		return false, fmt.Errorf("status %d, length %d", status, length)
	}
	_, err = io.CopyN(io.Discard, reader, length)
	return closes, err
}

func readHead(reader *bufio.Reader) (status int, length int64, closes bool, err error) {
	line, err := reader.ReadSlice('\n')
	if err != nil {
		return 0, 0, false, err
	}
	if len(line) < 14 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, 0, false, errors.New("no status line")
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, 0, false, err
	}
	for length = -1; ; {
		if line, err = reader.ReadSlice('\n'); err != nil {
			return 0, 0, false, err
		}
		if len(line) == 2 {
			return status, length, closes, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64); err != nil {
				return 0, 0, false, err
			}
		case bytes.EqualFold(name, []byte("Connection")):
			closes = bytes.EqualFold(bytes.TrimSpace(value), []byte("close"))
		}
	}
}
