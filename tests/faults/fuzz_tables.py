"""What cases of fuzz.py are drawn from. To add a member is to add a word to a table."""

import os

RUNS = ("sequence", "text", "language")
WORDS = {
    "train": 6, "eval": 5, "chat": 2, "generate": 2, "plot": 3, "export": 3, "quality": 2,
    "inspect": 3, "ablate": 2, "frontier": 2, "suite": 2, "": 1, "trian": 1, "--version": 1,
}  # fmt: skip
"""Words of the command, and how often each is drawn."""

NAMES = [
    "run", "[old]", "[/old]", "a [b] c", "?", "*", "with space", " run ", "ünï", "👎", "a\nb",
    "a\\b", "'\"", "~", "%s%d", "a:b", "gs:", "#&=;|", "--workdir=x", "x" * 200, "-", "$HOME",
    os.fsdecode(b"\xe9"), "\x1b[31m", "{}", ".hidden", "run.py", "copy", "a=b", "a,b", "日本",
]  # fmt: skip
REMOTE = [
    "gs://bucket/run", "s3://bucket/run", "hdfs://host/run", "http://host/run", "https://h/r",
    "GS://B", "az://x/y", "abfss://a@b/c", "memory://x", "file://host/run", "ftp://h", "s3://",
]  # fmt: skip
JUNK = [
    "", "None", "()", "(1,", "[]", "{}", "True", "nan", "inf", "-inf", "1e999", "@", "-1", "0",
    "1", "2.5", "'a'", '"', "x" * 300, "99999999999999999999", "-99999999999", "1,2", "1 2",
    "é", "👎", os.fsdecode(b"\xff"), "a\nb", "[red]", "%s", "--seeds=1", "../..", "1e-400", ":",
    "(0,)", "(1,2,3)", "lambda: 0", "__import__('os')", "0x10", "1_0", "١",
]  # fmt: skip
CONTENTS = [
    b"", b"\0" * 100, b"\xff\xfe", b"[]", b"null", b"1", b'{"a": 1}', b"{", b"[" * 20_000,
    b"\n", b"sentence\tlabel\n", b"sentence\tlabel\ngood\t7\n", b"sentence,label\n\"a,1\n",
    b"a\tb\n",
    b"PK\x03\x04", b"\x1f\x8b", "sentence\tlabel\na\t1\nb\t0\n".encode("utf-16"), b"a" * 50_000,
    b'{"step": 1, "train/loss": 1.0}\n{"st', b"NaN", b'{"model": {"width": 1}}',
    b"\xef\xbb\xbf", b"0 1 2\n" * 3, b"\r\r\r", b"a\x85b\xe2\x80\xa8c", b"def get_config(:",
    b"import nothing_x",
]  # fmt: skip
SMALL = (
    "config.json", "metrics.jsonl", "result.json", "vocabulary.json", "lock", "saving",
    "deleting", "eval.json", "curves.png",
)  # fmt: skip
ENVIRONMENT = {
    "COLUMNS": ["1", "0", "-3", "wide", "100000"],
    "LINES": ["0", "x"],
    "TERM": ["dumb", "", "xterm-256color", "none"],
    "HOME": ["/proc/nothing", "", "relative", "/"],
    "XDG_STATE_HOME": ["/proc/nothing", "x", ""],
    "TMPDIR": ["/proc/nothing", "", "."],
    "MPLCONFIGDIR": ["/proc/nothing", ""],
    "MPLBACKEND": ["TkAgg", "Agg", "nothing"],
    "NO_COLOR": ["1", ""],
    "FORCE_COLOR": ["1", "x"],
    "TZ": ["nowhere", "UTC"],
    "PWD": ["/nowhere", ""],
    "PATH": ["", "/nowhere"],
    "PYTHONIOENCODING": ["ascii", "latin-1", "cp1252:strict", "utf-8"],
    "TF_CPP_MIN_LOG_LEVEL": ["x", "0"],
    "SLURM_JOB_ID": ["1", "x"],
}
AT_START = {
    "JAX_PLATFORMS": ["nothing", "cuda", "", "cpu,", "CPU"],
    "JAX_ENABLE_X64": ["1", "0", "perhaps"],
    "JAX_DEFAULT_PRNG_IMPL": ["rbg", "nothing"],
    "JAX_NUMPY_DTYPE_PROMOTION": ["strict"],
    "JAX_NUMPY_RANK_PROMOTION": ["raise", "perhaps"],
    "MATPLOTLIBRC": ["/proc/nothing", "", "junk", "pipe", "folder"],
    "JAX_DEBUG_NANS": ["1", "perhaps"],
    "XLA_FLAGS": ["--bad", "x", "", " ", "--xla_backend_optimization_level=high"],
    "JAX_DEFAULT_MATMUL_PRECISION": ["float32", "x"],
    "PYTHONWARNINGS": ["error", "x"],
    "PYTHONOPTIMIZE": ["2"],
    "LC_ALL": ["C", "none.nothing"],
    "PYTHONUTF8": ["0", "1"],
    "PYTHONHASHSEED": ["0", "7"],
}
"""Read when Python or JAX starts."""

STREAMS = {
    "": 30, "closed input": 1, "closed output": 1, "closed errors": 1, "full output": 2,
    "pipe nobody reads": 2, "all closed": 1,
}  # fmt: skip
CLOSED = {
    "closed input": (0,), "closed output": (1,), "closed errors": (2,), "all closed": (0, 1, 2),
}  # fmt: skip
"""Numbers of the streams that are closed."""

FIELDS = (
    "seed", "task", "no.such", "model.name", "model.width", "model.num_layers", "model.dtype",
    "model.memory.num_slots", "model.memory.active_slots", "model.experts.count",
    "model.experts.top_k", "model.budget.target", "model.budget.routing", "data", "data.path",
    "data.longest", "data.shortest", "data.buckets", "data.eval_file", "data.tokenizer",
    "data.pretrained_embeddings", "train.batch_size", "train.learning_rate",
    "train.max_minutes", "train.warmup_steps", "train.log_every", "train.eval_every",
    "train.save_every",
    "train.stop_at_loss", "train.on_nonfinite", "train.accumulate_steps", "eval.lengths",
    "eval.long_lengths", "eval.test_sequences", "eval.tokens_per_batch", "mesh.expert", "mesh",
    "train.curriculum.accuracy", "model.memory.heads.ring.count", "model.experts.kind",
)  # fmt: skip
FLAGS = {
    "train": {"mode": ["train"], "print_config": ["true"], "num_processes": ["2"]},
    "eval": {"mode": ["eval"], "process_id": ["1"], "coordinator": ["localhost"]},
    "chat": {"format": ["text", "json"]},
    "generate": {
        "prompt": ["ada", "-", ""], "length": ["3"], "temperature": ["0", "1"], "top_k": ["2"],
        "top_p": ["0.5"], "seed": ["3"], "step": ["2"], "format": ["json"],
    },
    "plot": {"out": ["pictures"], "text": ["a dull film"]},
    "export": {"out": ["exported"]},
    "quality": {"sentences": ["sentences.tsv"]},
    "inspect": {},
    "ablate": {"only": ["control", "no_memory"], "seeds": ["1"], "out": ["o"]},
    "frontier": {"targets": ["0.5"], "topk": ["2"], "seeds": ["1"], "out": ["o"]},
    "suite": {
        "tasks": ["copy"], "models": ["moca", "lstm"], "seeds": ["1"], "minutes": ["1"],
        "learning_rates": ["0.1"], "report": ["r.md"], "configs": ["."], "out": ["o"],
    },
}  # fmt: skip

PATHS = ("workdir", "out", "config", "configs", "report", "sentences")
TAKE_CONFIG = ("train", "inspect", "ablate", "frontier")
TAKE_WORKDIR = ("train", "eval", "chat", "generate", "plot", "export", "quality")
CONFIGS = [
    "copy", "copy:no_memory", "sst2", "language", "formal_language:parity_check", "base",
    "junk", "folder",
]  # fmt: skip

WRONG = [
    "junk", "loop", "pipe", "missing", "junk/below", "", ".", "/dev/null", "/dev/full",
    "/proc/nothing", "x/" * 2000, "x" * 300, "/root/../proc/1/mem", "folder/train.tsv",
]  # fmt: skip
"""Paths of no run."""

OTHER_WORDS = [
    "--nothing=1", "--config", "-x", "--", "--help", "--helpshort", "word", "", "--flagfile",
    "--flagfile=junk", "--flagfile=folder", "--flagfile=missing", "--undefok=nothing",
]  # fmt: skip
