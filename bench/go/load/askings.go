package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

const large = 100 << 20

// askings has, for each mode, what the client of a number asks.
var askings = map[string]func(host string, number int) asking{
	"keepalive": func(host string, _ int) asking { return sending(plain("GET", "/", host, "")) },
	"idle":      func(host string, _ int) asking { return sending(plain("GET", "/", host, "")) },
	"browser":   browser,
	"connect":   func(host string, _ int) asking { return sending(plain("GET", "/", host, "Connection: close\r\n")) },
	"download":  func(host string, _ int) asking { return sending(plain("GET", "/large", host, "")) },
	"upload":    upload,
	"post": func(host string, _ int) asking {
		head := plain("POST", "/form", host, "Content-Type: application/octet-stream\r\nContent-Length: 10240\r\n")
		return sending(append(head, bytes.Repeat([]byte("y"), 10240)...))
	},
	"websocket":   websocket,
	"h2":          overH2(8, plainFields("/")),
	"h2-browser":  overH2(8, browserFields),
	"h2-page":     overH2(8, partFields),
	"h2-download": overH2(1, plainFields("/large")),
	"h2-idle":     overH2(1, plainFields("/")),
}

func plain(method, target, host, more string) []byte {
	return fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: load/1\r\nAccept: */*\r\n%s\r\n", method, target, host, more)
}

func answered(reader *bufio.Reader) (time.Duration, bool, error) {
	closes, err := readAnswer(reader)
	return 0, closes, err
}

func sending(request []byte) asking {
	return func(connection *tls.Conn, reader *bufio.Reader) (time.Duration, bool, error) {
		if _, err := connection.Write(request); err != nil {
			return 0, false, err
		}
		return answered(reader)
	}
}

// browser sends 13 header lines as a browser does, of which three differ each time.
func browser(host string, number int) asking {
	const lines = "GET /page/%[2]s?q=1 HTTP/1.1\r\nHost: %[1]s\r\nConnection: keep-alive\r\n" +
		"sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\", \"Google Chrome\";v=\"140\"\r\nsec-ch-ua-mobile: ?0\r\n" +
		"sec-ch-ua-platform: \"Linux\"\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) " +
		"Chrome/140.0.0.0 Safari/537.36\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp," +
		"image/apng,*/*;q=0.8\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n" +
		"Referer: https://%[1]s/page/%[2]s\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
		"Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\nCookie: session=0123456789abcdef0123456789abcdef; seen=%[2]s\r\n\r\n"
	made := number * 1_000_000
	return func(connection *tls.Conn, reader *bufio.Reader) (time.Duration, bool, error) {
		made++
		if _, err := fmt.Fprintf(connection, lines, host, fmt.Sprintf("%010d", made)); err != nil {
			return 0, false, err
		}
		return answered(reader)
	}
}

func upload(host string, _ int) asking {
	head := plain("POST", "/file", host, fmt.Sprintf("Content-Length: %d\r\n", large))
	block := make([]byte, 256<<10)
	return func(connection *tls.Conn, reader *bufio.Reader) (time.Duration, bool, error) {
		if _, err := connection.Write(head); err != nil {
			return 0, false, err
		}
		for left := large; left > 0; left -= len(block) {
			if _, err := connection.Write(block); err != nil {
				return 0, false, err
			}
		}
		return answered(reader)
	}
}

// websocket sends a message of 1 KiB and waits for it to come back.
func websocket(host string, _ int) asking {
	const key = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	request := plain("GET", "/socket", host, key)
	payload := bytes.Repeat([]byte("z"), 1024)
	mask := [4]byte{1, 2, 3, 4}
	frame := append(binary.BigEndian.AppendUint16([]byte{0x82, 0x80 | 126}, 1024), mask[:]...)
	for index, one := range payload {
		frame = append(frame, one^mask[index&3])
	}
	answer := make([]byte, 4+1024)
	var opened *tls.Conn
	return func(connection *tls.Conn, reader *bufio.Reader) (time.Duration, bool, error) {
		if connection != opened {
			if _, err := connection.Write(request); err != nil {
				return 0, false, err
			}
			if status, _, _, err := readHead(reader); err != nil || status != 101 {
				return 0, false, fmt.Errorf("no WebSocket: status %d, error %v", status, err)
			}
			opened = connection
		}
		if _, err := connection.Write(frame); err != nil {
			return 0, false, err
		}
		if _, err := io.ReadFull(reader, answer); err != nil {
			return 0, false, err
		}
		if !bytes.Equal(answer[4:], payload) {
			return 0, false, errors.New("another message came back")
		}
		return 0, false, nil
	}
}
