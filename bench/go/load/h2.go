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

	"golang.org/x/net/http2/hpack"
)

// Frames and flags of RFC 9113 that this client knows.
const (
	frameData, frameHeaders, frameReset, frameSettings, framePing, frameAway, frameWindow = 0, 1, 3, 4, 6, 7, 8

	endStream, ack, endHeaders = 1, 1, 4

	greeting   = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	mostWindow = 1<<31 - 1
	topUp      = 1 << 30
)

// An h2 client keeps so many streams of a connection busy: each answer that ends is followed by the next request.
type h2 struct {
	streams    int
	fields     func() []hpack.HeaderField
	connection *tls.Conn
	out        *bytes.Buffer
	block      *bytes.Buffer
	encoder    *hpack.Encoder
	decoder    *hpack.Decoder
	status     string
	next       uint32
	began      map[uint32]time.Time
	taken      uint32 // bytes of DATA that no WINDOW_UPDATE gave back
	frame      [9]byte
}

func overH2(streams int, fields func(host string, number int) func() []hpack.HeaderField) func(string, int) asking {
	return func(host string, number int) asking {
		one := &h2{streams: streams, fields: fields(host, number)}
		return one.ask
	}
}

// ask begins what is missing of the requests under way, and returns when one of them has its answer.
func (one *h2) ask(connection *tls.Conn, reader *bufio.Reader) (time.Duration, bool, error) {
	if connection != one.connection {
		one.begin(connection)
	}
	for len(one.began) < one.streams {
		one.request()
	}
	for {
		ended, err := one.read(reader)
		if err != nil {
			return 0, false, err
		}
		if ended != 0 {
			began := one.began[ended]
			delete(one.began, ended)
			return time.Since(began), false, nil
		}
	}
}

func (one *h2) begin(connection *tls.Conn) {
	one.connection, one.out, one.block = connection, new(bytes.Buffer), new(bytes.Buffer)
	one.encoder = hpack.NewEncoder(one.block)
	one.decoder = hpack.NewDecoder(4096, func(field hpack.HeaderField) {
		if field.Name == ":status" {
			one.status = field.Value
		}
	})
	one.next, one.began, one.taken = 1, map[uint32]time.Time{}, 0
	one.out.WriteString(greeting)
	settings := binary.BigEndian.AppendUint16(nil, 2) // no pushes
	settings = binary.BigEndian.AppendUint32(settings, 0)
	settings = binary.BigEndian.AppendUint16(settings, 4) // the window of a stream
	settings = binary.BigEndian.AppendUint32(settings, mostWindow)
	one.write(frameSettings, 0, 0, settings)
	one.write(frameWindow, 0, 0, binary.BigEndian.AppendUint32(nil, mostWindow-65535))
}

func (one *h2) request() {
	one.block.Reset()
	for _, field := range one.fields() {
		if field.Name == ":path" {
			literal := []byte{0x04, 0x80 | byte(hpack.HuffmanEncodeLength(field.Value))} // into no table: as browsers do
			one.block.Write(hpack.AppendHuffmanString(literal, field.Value))
			continue
		}
		_ = one.encoder.WriteField(field)
	}
	one.write(frameHeaders, endStream|endHeaders, one.next, one.block.Bytes())
	one.began[one.next] = time.Now()
	one.next += 2
}

func (one *h2) write(kind, flags byte, stream uint32, payload []byte) {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))[1:]
	head = binary.BigEndian.AppendUint32(append(head, kind, flags), stream)
	one.out.Write(head)
	one.out.Write(payload)
}

// read takes one frame, and returns the stream whose answer it ended, or 0.
func (one *h2) read(reader *bufio.Reader) (uint32, error) {
	if reader.Buffered() < len(one.frame) && one.out.Len() > 0 { // nothing more to read at once: now write
		if _, err := one.connection.Write(one.out.Bytes()); err != nil {
			return 0, err
		}
		one.out.Reset()
	}
	if _, err := io.ReadFull(reader, one.frame[:]); err != nil {
		return 0, err
	}
	size := int(binary.BigEndian.Uint32(one.frame[:4]) >> 8)
	kind, flags, stream := one.frame[3], one.frame[4], binary.BigEndian.Uint32(one.frame[5:])
	if kind == frameData {
		if _, err := io.CopyN(io.Discard, reader, int64(size)); err != nil {
			return 0, err
		}
		if one.taken += uint32(size); one.taken > topUp {
			one.write(frameWindow, 0, 0, binary.BigEndian.AppendUint32(nil, one.taken))
			one.taken = 0
		}
	} else {
		payload := make([]byte, size)
		if _, err := io.ReadFull(reader, payload); err != nil {
			return 0, err
		}
		if err := one.handle(kind, flags, payload); err != nil {
			return 0, err
		}
	}
	if (kind == frameData || kind == frameHeaders) && flags&endStream != 0 {
		return stream, nil
	}
	return 0, nil
}

func (one *h2) handle(kind, flags byte, payload []byte) error {
	switch kind {
	case frameHeaders:
		if flags&endHeaders == 0 || flags&0x28 != 0 {
			return errors.New("headers in a form that this client does not read")
		}
		one.status = ""
		if _, err := one.decoder.Write(payload); err != nil {
			return err
		}
		if one.status != "200" {
			return fmt.Errorf("status %q", one.status)
		}
	case frameSettings:
		if flags&ack == 0 {
			one.write(frameSettings, ack, 0, nil)
		}
	case framePing:
		if flags&ack == 0 {
			one.write(framePing, ack, 0, payload)
		}
	case frameReset, frameAway:
		return fmt.Errorf("the server ended it: frame %d %x", kind, payload)
	}
	return nil
}

func plainFields(target string) func(string, int) func() []hpack.HeaderField {
	return func(host string, _ int) func() []hpack.HeaderField {
		fields := []hpack.HeaderField{
			{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: host},
			{Name: ":path", Value: target}, {Name: "user-agent", Value: "load/1"}, {Name: "accept", Value: "*/*"},
		}
		return func() []hpack.HeaderField { return fields }
	}
}

// browserFields are those of `browser`, as a browser sends them here.
func browserFields(host string, number int) func() []hpack.HeaderField {
	return fieldsOf(host, number, func(path string) string { return path })
}

// partFields are those of the parts of one page: another path each time.
func partFields(host string, number int) func() []hpack.HeaderField {
	return fieldsOf(host, number, func(string) string { return "0123456789" })
}

func fieldsOf(host string, number int, pageOf func(path string) string) func() []hpack.HeaderField {
	const agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
	const accept = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"
	made := number * 1_000_000
	return func() []hpack.HeaderField {
		made++
		path := fmt.Sprintf("%010d", made)
		page := pageOf(path)
		return []hpack.HeaderField{
			{Name: ":method", Value: "GET"}, {Name: ":authority", Value: host}, {Name: ":scheme", Value: "https"},
			{Name: ":path", Value: "/page/" + path + "?q=1"},
			{Name: "sec-ch-ua", Value: "\"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\", \"Google Chrome\";v=\"140\""},
			{Name: "sec-ch-ua-mobile", Value: "?0"}, {Name: "sec-ch-ua-platform", Value: "\"Linux\""},
			{Name: "user-agent", Value: agent}, {Name: "accept", Value: accept},
			{Name: "sec-fetch-site", Value: "same-origin"}, {Name: "sec-fetch-mode", Value: "navigate"},
			{Name: "sec-fetch-dest", Value: "document"}, {Name: "referer", Value: "https://" + host + "/page/" + page},
			{Name: "accept-encoding", Value: "gzip, deflate, br, zstd"}, {Name: "accept-language", Value: "en-GB,en;q=0.9,de;q=0.8"},
			{Name: "cookie", Value: "session=0123456789abcdef0123456789abcdef"}, {Name: "cookie", Value: "seen=" + page},
		}
	}
}
