"""fuzz_target: a libFuzzer binary under --config=fuzz, a test that replays the corpus otherwise."""

load("@rules_cc//cc:defs.bzl", "cc_library", "cc_test")

def fuzz_target(name, src, corpus, deps):
    """Declares a decoder's fuzz target.

    Fuzz:   bazel build --config=fuzz //tests/fuzz:NAME
            bazel-bin/tests/fuzz/NAME tests/fuzz/corpus/NAME -max_total_time=60
    Replay: bazel test //tests/fuzz:NAME

    Args:
      name: of the target.
      src: the .cc file that defines LLVMFuzzerTestOneInput.
      corpus: glob of seed inputs.
      deps: of the source.
    """
    cc_library(
        name = name + "_input",
        testonly = True,
        srcs = [src],
        alwayslink = True,
        visibility = ["//visibility:private"],
        deps = deps,
    )
    cc_test(
        name = name,
        size = "small",
        timeout = "moderate",
        srcs = select({
            "//tests/fuzz:libfuzzer": [],
            "//conditions:default": ["//tests/fuzz:replay_main.cc"],
        }),
        args = select({
            "//tests/fuzz:libfuzzer": ["-runs=10000"],
            "//conditions:default": [],
        }) + ["$(locations %s)" % c for c in corpus],
        data = corpus,
        linkopts = select({
            "//tests/fuzz:libfuzzer": ["-fsanitize=fuzzer"],
            "//conditions:default": [],
        }),
        deps = [":" + name + "_input"],
    )
