// An echo of OpenAI's chat completions over TLS by GnuTLS. Usage: server PORT KEY CERTIFICATE
//
// What it answers is in tests/src/tls.rs. Each chunk of a stream is one gnutls_record_send. JSON is not parsed but
// searched: the last "content" of a request is taken as it is written, escapes and all, and given back so.
#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static gnutls_certificate_credentials_t credentials;
static atomic_ulong chats;

// Growing text, always with a zero at its end.
struct text {
  char *at;
  size_t length;
};

static void add(struct text *text, const char *more, size_t length) {
  text->at = realloc(text->at, text->length + length + 1);
  if (!text->at) abort();
  memcpy(text->at + text->length, more, length);
  text->at[text->length += length] = 0;
}

static bool send_all(gnutls_session_t tls, const char *data, size_t length) {
  while (length > 0) {
    ssize_t sent = gnutls_record_send(tls, data, length);
    if (sent == GNUTLS_E_INTERRUPTED || sent == GNUTLS_E_AGAIN) continue;
    if (sent <= 0) return false;
    data += sent;
    length -= (size_t)sent;
  }
  return true;
}

// Receives more; false at the end of the connection.
static bool receive(gnutls_session_t tls, struct text *text) {
  char buffer[4096];
  ssize_t got;
  do got = gnutls_record_recv(tls, buffer, sizeof buffer);
  while (got == GNUTLS_E_INTERRUPTED || got == GNUTLS_E_AGAIN);
  if (got > 0) add(text, buffer, (size_t)got);
  return got > 0;
}

static bool send_json(gnutls_session_t tls, const char *status, const char *body) {
  char *answer;
  int length = asprintf(&answer, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", status,
                        strlen(body), body);
  if (length < 0) abort();
  bool sent = send_all(tls, answer, (size_t)length);
  free(answer);
  return sent;
}

// One chunk of the transfer coding with one event.
static bool send_event(gnutls_session_t tls, const char *data) {
  char *chunk;
  int length = asprintf(&chunk, "%zx\r\ndata: %s\n\n\r\n", strlen(data) + 8, data);
  if (length < 0) abort();
  bool sent = send_all(tls, chunk, (size_t)length);
  free(chunk);
  return sent;
}

// The text of the last string member of this name, not unescaped; NULL if there is none.
static char *last_string(const char *json, const char *name) {
  const char *found = NULL;
  for (const char *at = json; (at = strstr(at, name)); at++) {
    const char *value = at + strlen(name);
    value += strspn(value, " \t\r\n");
    if (*value++ != ':') continue;
    value += strspn(value, " \t\r\n");
    if (*value == '"') found = value + 1;
  }
  if (!found) return NULL;
  const char *end = found;
  while (*end && *end != '"') end += *end == '\\' && end[1] ? 2 : 1;
  return strndup(found, (size_t)(end - found));
}

static bool is_true(const char *json, const char *name) {
  const char *value = strstr(json, name);
  if (!value) return false;
  value += strlen(name);
  return strncmp(value + strspn(value, " \t\r\n:"), "true", 4) == 0;
}

static size_t word_length(const char *text) {
  size_t length = strcspn(text, " ");
  return length + (text[length] == ' ');
}

static size_t count_words(const char *text) {
  size_t words = 0;
  for (; *text; text += word_length(text)) words++;
  return words;
}

static bool send_choice(gnutls_session_t tls, const char *head, const char *delta, const char *reason) {
  char *event;
  if (asprintf(&event, "{%s,\"choices\":[{\"index\":0,\"delta\":{%s},\"finish_reason\":%s}]}", head, delta, reason) < 0)
    abort();
  bool sent = send_event(tls, event);
  free(event);
  return sent;
}

static bool stream(gnutls_session_t tls, const char *head, const char *content, const char *usage) {
  static const char start[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
  bool sent = send_all(tls, start, sizeof start - 1) &&
              send_choice(tls, head, "\"role\":\"assistant\",\"content\":\"\"", "null");
  for (size_t length; sent && *content; content += length) {
    length = word_length(content);
    char *delta;
    if (asprintf(&delta, "\"content\":\"%.*s\"", (int)length, content) < 0) abort();
    sent = send_choice(tls, head, delta, "null");
    free(delta);
  }
  sent = sent && send_choice(tls, head, "", "\"stop\"");
  if (usage) {
    char *event;
    if (asprintf(&event, "{%s,\"choices\":[],%s}", head, usage) < 0) abort();
    sent = sent && send_event(tls, event);
    free(event);
  }
  return sent && send_event(tls, "[DONE]") && send_all(tls, "0\r\n\r\n", 5);
}

static bool chat(gnutls_session_t tls, const char *request) {
  char *last = last_string(request, "\"content\"");
  if (!last) {
    const char *error = "{\"error\":{\"message\":\"no text in the last message\",\"type\":\"invalid_request_error\"}}";
    return send_json(tls, "400 Bad Request", error);
  }
  unsigned long count = atomic_fetch_add(&chats, 1) + 1;
  char *model = last_string(request, "\"model\"");
  char *content, *head, *usage, *body;
  if (asprintf(&content, "echo %lu: %s", count, last) < 0) abort();
  size_t in = count_words(last), out = count_words(content);
  bool streamed = is_true(request, "\"stream\"");
  if (asprintf(&head, "\"id\":\"chatcmpl-%lu\",\"object\":\"chat.completion%s\",\"created\":1,\"model\":\"%s\"", count,
               streamed ? ".chunk" : "", model ? model : "echo") < 0 ||
      asprintf(&usage, "\"usage\":{\"prompt_tokens\":%zu,\"completion_tokens\":%zu,\"total_tokens\":%zu}", in, out,
               in + out) < 0 ||
      asprintf(&body,
               "{%s,\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},"
               "\"finish_reason\":\"stop\"}],%s}",
               head, content, usage) < 0)
    abort();
  bool sent = streamed ? stream(tls, head, content, is_true(request, "\"include_usage\"") ? usage : NULL)
                       : send_json(tls, "200 OK", body);
  free(last), free(model), free(content), free(head), free(usage), free(body);
  return sent;
}

// Answers one request; false when the connection is at its end.
static bool serve_one(gnutls_session_t tls, struct text *input) {
  char *body;
  while (!input->at || !(body = strstr(input->at, "\r\n\r\n")))
    if (!receive(tls, input)) return false;
  size_t head = (size_t)(body + 4 - input->at), length = 0;
  for (char *line = input->at; line && line < body; line = strstr(line, "\r\n"), line += 2)
    if (strncasecmp(line, "Content-Length:", 15) == 0) length = strtoul(line + 15, NULL, 10);
  while (input->length < head + length)
    if (!receive(tls, input)) return false;
  struct text request = {0}, rest = {0};
  add(&request, input->at, head + length);
  add(&rest, input->at + head + length, input->length - head - length);
  free(input->at);
  *input = rest;
  bool sent;
  if (strncmp(request.at, "GET /health ", 12) == 0)
    sent = send_json(tls, "200 OK", "{\"status\":\"ok\"}");
  else if (strncmp(request.at, "POST /v1/chat/completions ", 26) == 0)
    sent = chat(tls, request.at + head);
  else
    sent = send_json(tls, "404 Not Found",
                     "{\"error\":{\"message\":\"no such route\",\"type\":\"invalid_request_error\"}}");
  free(request.at);
  return sent;
}

static void *serve(void *argument) {
  int connection = (int)(intptr_t)argument, result, yes = 1;
  gnutls_session_t tls;
  struct text input = {0};
  setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  gnutls_init(&tls, GNUTLS_SERVER);
  gnutls_set_default_priority(tls);
  gnutls_credentials_set(tls, GNUTLS_CRD_CERTIFICATE, credentials);
  gnutls_transport_set_int(tls, connection);
  do result = gnutls_handshake(tls);
  while (result < 0 && !gnutls_error_is_fatal(result));
  if (result == 0) {
    while (serve_one(tls, &input)) continue;
    gnutls_bye(tls, GNUTLS_SHUT_WR);
  }
  gnutls_deinit(tls);
  close(connection);
  free(input.at);
  return NULL;
}

int main(int count, char **arguments) {
  if (count != 4) return 2;
  // A client that goes away ends its connection and no more.
  signal(SIGPIPE, SIG_IGN);
  gnutls_certificate_allocate_credentials(&credentials);
  int result = gnutls_certificate_set_x509_key_file(credentials, arguments[3], arguments[2], GNUTLS_X509_FMT_PEM);
  if (result < 0) return fprintf(stderr, "the key pair: %s\n", gnutls_strerror(result)), 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[1]))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 128) < 0)
    return perror("listening"), 1;
  for (;;) {
    int connection = accept(listener, NULL, NULL);
    pthread_t thread;
    if (connection < 0) continue;
    if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)connection) == 0)
      pthread_detach(thread);
    else
      close(connection);
  }
}
