// An echo of OpenAI's chat completions over TLS. Usage: server PORT KEY CERTIFICATE
//
// What it answers is in tests/src/tls.rs. Each chunk of a stream is flushed, so that it is a TLS record of its own.
package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
)

type object = map[string]any

type chat struct {
	Model    string
	Messages []struct{ Content string }
	Stream   bool
	Options  struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

var chats int64

func sendJSON(w http.ResponseWriter, status int, value object) {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body)
}

func refuse(w http.ResponseWriter, status int, message string) {
	sendJSON(w, status, object{"error": object{"message": message, "type": "invalid_request_error"}})
}

func words(text string) []string {
	found := strings.SplitAfter(text, " ")
	if found[len(found)-1] == "" {
		found = found[:len(found)-1]
	}
	return found
}

func stream(w http.ResponseWriter, chunk func([]object, object) object, pieces []string, usage object) {
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(data []byte) {
		fmt.Fprintf(w, "data: %s\n\n", data)
		w.(http.Flusher).Flush()
	}
	choose := func(delta object, reason any) {
		choices := []object{{"index": 0, "delta": delta, "finish_reason": reason}}
		data, _ := json.Marshal(chunk(choices, nil))
		send(data)
	}
	choose(object{"role": "assistant", "content": ""}, nil)
	for _, piece := range pieces {
		choose(object{"content": piece}, nil)
	}
	choose(object{}, "stop")
	if usage != nil {
		data, _ := json.Marshal(chunk([]object{}, usage))
		send(data)
	}
	send([]byte("[DONE]"))
}

func answer(w http.ResponseWriter, r *http.Request) {
	var asked chat
	err := json.NewDecoder(r.Body).Decode(&asked)
	if r.Method != http.MethodPost || err != nil || len(asked.Messages) == 0 {
		refuse(w, http.StatusBadRequest, "no text in the last message")
		return
	}
	last := asked.Messages[len(asked.Messages)-1].Content
	count := atomic.AddInt64(&chats, 1)
	content := fmt.Sprintf("echo %d: %s", count, last)
	pieces := words(content)
	in, out := len(words(last)), len(pieces)
	usage := object{"prompt_tokens": in, "completion_tokens": out, "total_tokens": in + out}
	head := func(kind string) func([]object, object) object {
		return func(choices []object, usage object) object {
			whole := object{"id": fmt.Sprintf("chatcmpl-%d", count), "created": 1, "model": asked.Model, "object": kind}
			whole["choices"] = choices
			if usage != nil {
				whole["usage"] = usage
			}
			return whole
		}
	}
	if asked.Stream {
		if !asked.Options.IncludeUsage {
			usage = nil
		}
		stream(w, head("chat.completion.chunk"), pieces, usage)
		return
	}
	message := object{"role": "assistant", "content": content}
	choices := []object{{"index": 0, "message": message, "finish_reason": "stop"}}
	sendJSON(w, http.StatusOK, head("chat.completion")(choices, usage))
}

func main() {
	port, key, certificate := os.Args[1], os.Args[2], os.Args[3]
	routes := http.NewServeMux()
	routes.HandleFunc("/v1/chat/completions", answer)
	routes.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
		sendJSON(w, http.StatusOK, object{"status": "ok"})
	})
	server := http.Server{
		Addr:    "127.0.0.1:" + port,
		Handler: routes,
		// An empty map: HTTP/1.1 alone.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	log.Fatal(server.ListenAndServeTLS(certificate, key))
}
