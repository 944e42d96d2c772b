// llama.cpp as a benchmark worker: one JSON request a line on standard input, one JSON answer a line on standard
// output.
//   llama-peer MODEL.gguf THREADS
//   {"kind": "decode", "streams": 4, "promptTokens": 32, "tokens": 64}   -> tokens/s over all streams
//   {"kind": "prefill", "tokens": 512}                                   -> tokens/s of one prompt
// Calls its library as llama-batched-bench does, with that program's defaults: one llama_decode a step, logits of every
// stream's token, nothing sampled. bench/peers/build-llama-server.sh builds it.
#include <llama.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>

#ifndef PEER_VERSION
#define PEER_VERSION "of an unknown version"
#endif

namespace {

constexpr int kBatchTokens = 2048, kMicroBatchTokens = 512;
// Contexts are as long as their requests, in such units: room for the KV of 64 streams of a large model.
constexpr int kContextUnit = 256;

double cpu_seconds() {
  rusage use = {};
  getrusage(RUSAGE_SELF, &use);
  const auto seconds = [](const timeval& t) { return double(t.tv_sec) + double(t.tv_usec) / 1e6; };
  return seconds(use.ru_utime) + seconds(use.ru_stime);
}

// The requests are our own: flat objects of known fields.
int number(const std::string& json, const std::string& field) {
  const size_t at = json.find("\"" + field + "\":");
  if (at == std::string::npos) throw std::runtime_error("no field " + field);
  return std::atoi(json.c_str() + at + field.size() + 3);
}

class Peer {
 public:
  Peer(const char* path, int threads) : threads_(threads) {
    llama_backend_init();
    llama_model_params params = llama_model_default_params();
    model_ = llama_model_load_from_file(path, params);
    if (!model_) throw std::runtime_error("the model cannot be loaded");
    batch_ = llama_batch_init(kBatchTokens, 0, 1);
    vocab_ = llama_vocab_n_tokens(llama_model_get_vocab(model_));
  }

  std::string measure(const std::string& request) {
    if (request.find("\"decode\"") != std::string::npos) {
      return decode(number(request, "streams"), number(request, "promptTokens"), number(request, "tokens"));
    }
    return prefill(number(request, "tokens"));
  }

 private:
  llama_context* context(int streams, int tokens) {
    const int each = (tokens + kContextUnit - 1) / kContextUnit * kContextUnit;
    llama_context*& context = contexts_[{streams, each}];
    if (context) return context;
    llama_context_params params = llama_context_default_params();
    params.n_ctx = static_cast<uint32_t>(streams * each);
    params.n_batch = kBatchTokens;
    params.n_ubatch = kMicroBatchTokens;
    params.n_seq_max = static_cast<uint32_t>(streams);
    params.n_threads = params.n_threads_batch = threads_;
    context = llama_init_from_model(model_, params);
    if (!context) throw std::runtime_error("no context for so many streams");
    return context;
  }

  // Ids that look like text: spread over the vocabulary, without the control tokens at its start.
  llama_token token(int position) const {
    return 1000 + static_cast<llama_token>((position * 7919ll) % (vocab_ - 2000));
  }

  void add(int stream, int position, bool wanted) {
    const int i = batch_.n_tokens++;
    batch_.token[i] = token(position + stream);
    batch_.pos[i] = position;
    batch_.n_seq_id[i] = 1;
    batch_.seq_id[i][0] = stream;
    batch_.logits[i] = wanted;
  }

  void run(llama_context* context) {
    if (llama_decode(context, batch_) != 0) throw std::runtime_error("llama_decode failed");
    llama_synchronize(context);
    batch_.n_tokens = 0;
  }

  void prompt(llama_context* context, int stream, int tokens) {
    for (int i = 0; i < tokens; ++i) {
      add(stream, i, i == tokens - 1);
      if (batch_.n_tokens == kBatchTokens || i == tokens - 1) run(context);
    }
  }

  std::string decode(int streams, int prompt_tokens, int tokens) {
    llama_context* at = context(streams, prompt_tokens + tokens);
    llama_memory_clear(llama_get_memory(at), false);
    for (int stream = 0; stream < streams; ++stream) prompt(at, stream, prompt_tokens);
    return timed(streams * tokens, [&] {
      for (int step = 0; step < tokens; ++step) {
        for (int stream = 0; stream < streams; ++stream) add(stream, prompt_tokens + step, true);
        run(at);
      }
    });
  }

  std::string prefill(int tokens) {
    llama_context* at = context(1, tokens);
    llama_memory_clear(llama_get_memory(at), false);
    return timed(tokens, [&] { prompt(at, 0, tokens); });
  }

  template <class F>
  std::string timed(int tokens, F&& run) {
    const double cpu = cpu_seconds();
    const auto start = std::chrono::steady_clock::now();
    run();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    char text[256];
    std::snprintf(text, sizeof(text), "{\"tokens\": %d, \"seconds\": %.9g, \"cpuSeconds\": %.9g, \"tokensPerS\": %.9g}",
                  tokens, seconds, cpu_seconds() - cpu, tokens / seconds);
    return text;
  }

  const int threads_;
  int vocab_ = 0;
  llama_model* model_ = nullptr;
  llama_batch batch_ = {};
  std::map<std::pair<int, int>, llama_context*> contexts_;  // by streams and tokens of each
};

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc == 3 ? std::atoi(argv[2]) : 0;
  if (threads < 1) {
    std::fprintf(stderr, "usage: llama-peer MODEL.gguf THREADS\n");
    return 2;
  }
  llama_log_set(
      [](ggml_log_level level, const char* text, void*) {
        if (level == GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
      },
      nullptr);
  try {
    Peer peer(argv[1], threads);
    std::cout << "{\"engine\": \"llama.cpp " PEER_VERSION "\"}" << std::endl;
    for (std::string line; std::getline(std::cin, line);) {
      if (!line.empty()) std::cout << peer.measure(line) << std::endl;
    }
  } catch (const std::exception& error) {
    std::cout << "{\"error\": \"" << error.what() << "\"}" << std::endl;
    return 1;
  }
  return 0;
}
