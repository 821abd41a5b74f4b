// Command upstream is the cheap HTTP/1.1 server behind the proxies that are measured.
//
// It prints its port. GET answers 1 KiB, /large 100 MiB; a body with a length is read and answered with 1 KiB; a
// WebSocket gets its messages back.
package main

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strconv"
)

const large = 100 << 20

var (
	small = answer(1024, bytes.Repeat([]byte("x"), 1024))
	block = make([]byte, 256<<10)
)

func answer(length int, body []byte) []byte {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nServer: upstream\r\nDate: Mon, 01 Jan 2029 00:00:00 GMT\r\n" +
		"Content-Length: %d\r\n\r\n"
	return append(fmt.Appendf(nil, head, length), body...)
}

type request struct {
	target string
	length int64
	key    string // of a WebSocket
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(connection)
	}
}

func serve(connection net.Conn) {
	defer connection.Close()
	reader := bufio.NewReaderSize(connection, 64<<10)
	for {
		asked, err := read(reader)
		if err == nil && asked.key != "" {
			err = echo(connection, reader, asked.key)
		} else if err == nil {
			err = reply(connection, reader, asked)
		}
		if err != nil {
			return
		}
	}
}

func read(reader *bufio.Reader) (asked request, err error) {
	line, err := reader.ReadSlice('\n')
	if err != nil {
		return asked, err
	}
	parts := bytes.Split(line, []byte(" "))
	if len(parts) != 3 {
		return asked, errors.New("no request line")
	}
	asked.target = string(parts[1])
	for {
		if line, err = reader.ReadSlice('\n'); err != nil {
			return asked, err
		}
		if len(line) == 2 {
			return asked, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch len(name) {
		case len("Content-Length"):
			if bytes.EqualFold(name, []byte("Content-Length")) {
				if asked.length, err = strconv.ParseInt(string(value), 10, 64); err != nil {
					return asked, err
				}
			}
		case len("Sec-WebSocket-Key"):
			if bytes.EqualFold(name, []byte("Transfer-Encoding")) {
				return asked, errors.New("chunks are not expected of a body whose length the client told")
			}
			if bytes.EqualFold(name, []byte("Sec-WebSocket-Key")) {
				asked.key = string(value)
			}
		}
	}
}

func reply(connection net.Conn, reader *bufio.Reader, asked request) error {
	if _, err := io.CopyN(io.Discard, reader, asked.length); err != nil {
		return err
	}
	if asked.target != "/large" {
		_, err := connection.Write(small)
		return err
	}
	if _, err := connection.Write(answer(large, nil)); err != nil {
		return err
	}
	for left := large; left > 0; left -= len(block) {
		if _, err := connection.Write(block); err != nil {
			return err
		}
	}
	return nil
}

func echo(connection net.Conn, reader *bufio.Reader, key string) error {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	const head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"
	if _, err := fmt.Fprintf(connection, head, base64.StdEncoding.EncodeToString(sum[:])); err != nil {
		return err
	}
	// Only what the load generator sends: whole binary messages of 126 to 65535 bytes (RFC 6455 §5.2).
	frame := make([]byte, 8+65535)
	for {
		if _, err := io.ReadFull(reader, frame[:8]); err != nil {
			return err
		}
		if frame[0] != 0x82 || frame[1] != 0x80|126 {
			return errors.New("another frame")
		}
		mask := [4]byte(frame[4:8])
		payload := frame[4 : 4+int(binary.BigEndian.Uint16(frame[2:4]))]
		if _, err := io.ReadFull(reader, payload); err != nil {
			return err
		}
		for index := range payload {
			payload[index] ^= mask[index&3]
		}
		frame[1] = 126
		if _, err := connection.Write(frame[:4+len(payload)]); err != nil {
			return err
		}
	}
}
