"""OpenVINO GenAI as a benchmark worker: one JSON request a line on standard input, one JSON answer a line on standard
output.

    python openvino-peer.py MODEL.gguf THREADS
    {"kind": "decode", "streams": 4, "promptTokens": 32, "tokens": 64}   -> tokens/s over all streams
    {"kind": "prefill", "tokens": 512}                                   -> tokens/s of one prompt

Its continuous-batching pipeline with its own defaults (a KV cache of 8 bits), stepped by hand so that a decode's prompts
are not timed. A step samples every stream (greedy), as ours does. bench/peers/install-openvino.sh installs it.
"""
import json
import resource
import sys
import time

import numpy
import openvino
import openvino_genai

BATCH_TOKENS = 512
# Bytes of KV that all streams of a measurement share, in GB as the library counts.
CACHE_GB = 2


def cpu_seconds():
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


class Peer:
    def __init__(self, path, threads):
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.cache_size = CACHE_GB
        scheduler.max_num_batched_tokens = BATCH_TOKENS
        scheduler.max_num_seqs = 256
        scheduler.enable_prefix_caching = False
        self.pipeline = openvino_genai.ContinuousBatchingPipeline(
            path, scheduler, "CPU", {"INFERENCE_NUM_THREADS": threads}
        )
        self.requests = 0

    def add(self, stream, prompt_tokens, output_tokens):
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = output_tokens
        config.ignore_eos = True
        config.do_sample = False
        # Ids that look like text: spread over the vocabulary, without the control tokens at its start.
        ids = 1000 + (numpy.arange(prompt_tokens, dtype=numpy.int64) + stream) * 7919 % 40_000
        self.requests += 1
        return self.pipeline.add_request(self.requests, openvino.Tensor(ids.reshape(1, -1)), config)

    def finish(self):
        while self.pipeline.has_non_finished_requests():
            self.pipeline.step()

    def measure(self, request):
        tokens = request["tokens"]
        if request["kind"] == "prefill":
            handle = self.add(0, tokens, 1)
            answer = self.timed(tokens, self.finish)
            del handle
            return answer
        streams, prompt_tokens = request["streams"], request["promptTokens"]
        # Steps that still hold prompts are not timed: the streams that began decode beside them, so that a step holds
        # fewer prompt tokens than it could, but half of them at least. No stream ends before the last timed step: each of
        # those gives every stream one token.
        first_steps = 2 * -(-streams * prompt_tokens // BATCH_TOKENS) + 1
        handles = [self.add(stream, prompt_tokens, first_steps + tokens + 1) for stream in range(streams)]
        for _ in range(first_steps):
            self.pipeline.step()
        answer = self.timed(streams * tokens, lambda: [self.pipeline.step() for _ in range(tokens)])
        self.finish()
        del handles
        return answer

    def timed(self, tokens, run):
        cpu, start = cpu_seconds(), time.perf_counter()
        run()
        seconds = time.perf_counter() - start
        return {
            "tokens": tokens,
            "seconds": seconds,
            "cpuSeconds": cpu_seconds() - cpu,
            "tokensPerS": tokens / seconds,
        }


def answer(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


try:
    peer = Peer(sys.argv[1], int(sys.argv[2]))
    answer({"engine": "OpenVINO GenAI " + openvino_genai.__version__.split("-")[0]})
    for line in sys.stdin:
        if line.strip():
            answer(peer.measure(json.loads(line)))
except Exception as error:
    answer({"error": str(error)})
    sys.exit(1)
