"""Loads files of `needledrop sample` into a real Cassandra node with the `dist` binary, and records the metrics.

    load.py PROMETHEUS_DATA    takes about three minutes; writes the samples and times.json into this folder

Sixteen files are dropped at the start, then one file every three seconds. In every fifth file, 2 % of the records cannot
become rows. After 80 seconds the node is stopped for ten seconds (SIGSTOP), while more files arrive.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
NEEDLEDROP = TARGET / "dist" / "needledrop"
NODE = ROOT / "tests/cassandra/node"

AT_ONCE, LATER, EVERY = 16, 34, 3.0
RECORDS = 20_000
STOPPED_AFTER, STOPPED_FOR = 80.0, 10.0
BAD, BAD_EVERY = 0.02, 5


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def started(stack, *words, **more):
    process = subprocess.Popen([str(word) for word in words], **more)
    stack.callback(lambda: (process.terminate(), process.wait()))
    return process


def answers(url, within=60):
    end = time.monotonic() + within
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass
        if time.monotonic() > end:
            sys.exit(f"{url} does not answer")
        time.sleep(0.1)


def spoilt(text, chance):
    """Returns the text with some user ids replaced by words, which are not valid numbers."""
    lines = text.splitlines(keepends=True)
    column = lines[0].rstrip("\r\n").split(",").index("userId")
    from_end = column - len(lines[0].split(","))
    for at in range(1, len(lines)):
        if chance.random() < BAD:
            fields = lines[at].rstrip("\r\n").split(",")
            if fields[from_end].strip('"'):
                fields[from_end] = "nobody"
                lines[at] = ",".join(fields) + "\n"
    return "".join(lines)


def files(folder):
    days = AT_ONCE + LATER
    subprocess.run([NEEDLEDROP, "sample", folder, "--days", str(days), "--rows", str(RECORDS), "--seed", "7"], check=True,
                   stdout=subprocess.DEVNULL)
    chance, made = random.Random(7), sorted(folder.glob("*.csv"))
    for file in made[BAD_EVERY - 1 :: BAD_EVERY]:
        file.write_text(spoilt(file.read_text(), chance))
    return made


def prometheus(stack, place, port):
    shipped = (ROOT / "deploy/prometheus/prometheus.yaml").read_text()
    config = shipped.replace("127.0.0.1:8642", f"127.0.0.1:{port}").replace("interval: 15s", "interval: 1s")
    for rules in ["recording.yaml", "alerts.yaml"]:
        config = config.replace(f"- {rules}", f"- {ROOT / 'deploy/prometheus' / rules}")
    (place / "prometheus.yaml").write_text(config)
    listen = free_port()
    started(stack, "prometheus", f"--config.file={place / 'prometheus.yaml'}", f"--storage.tsdb.path={place / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{listen}", "--log.level=warn")
    answers(f"http://127.0.0.1:{listen}/-/ready")
    return f"http://127.0.0.1:{listen}"


def node(stack, place):
    ports = [free_port() for _ in range(3)]
    options = ["--port", ports[0], "--storage-port", ports[1], "--jmx", ports[2], "--heap", "2G"]
    stack.callback(subprocess.run, [NODE, "stop", place, "--kill"], check=True)
    out = subprocess.run([NODE, "start", place, *map(str, options)], check=True, stdout=subprocess.PIPE, text=True)
    return out.stdout.strip(), int((place / "pid").read_text())


def daemon(stack, scratch, address, port):
    settings = {
        "SOURCE__FOLDER": scratch / "inbox",
        "SOURCE__SETTLE": "200ms",
        "STORE__KIND": "cassandra",
        "STORE__CASSANDRA__HOSTS": f'["{address}"]',
        "HTTP__LISTEN": f"127.0.0.1:{port}",
        "LOG__LEVEL": "warn",
    }
    environment = {**os.environ, **{f"NEEDLEDROP_{name}": str(value) for name, value in settings.items()}}
    process = started(stack, NEEDLEDROP, "run", cwd=scratch, env=environment)
    answers(f"http://127.0.0.1:{port}/readyz")
    return process


def drop(file, inbox):
    """Drops a file as a program should: writes it under a hidden name, then renames it."""
    aside = inbox / f".{file.name}"
    aside.write_bytes(file.read_bytes())
    aside.rename(inbox / file.name)


def main(place):
    place.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        inbox = scratch / "inbox"
        inbox.mkdir()
        made = files(scratch / "made")
        address, pid = node(stack, scratch / "node")
        port = free_port()
        daemon(stack, scratch, address, port)
        url = prometheus(stack, place, port)
        time.sleep(10)
        began = time.time()
        times = {"began": began, "records": RECORDS, "at_once": AT_ONCE, "every": EVERY}
        for file in made[:AT_ONCE]:
            drop(file, inbox)
        stopped = False
        for number, file in enumerate(made[AT_ONCE:]):
            due = began + (number + 1) * EVERY + 20
            while time.time() < due:
                time.sleep(max(0.0, min(0.2, due - time.time())))
                since = time.time() - began
                if not stopped and since > STOPPED_AFTER:
                    os.kill(pid, signal.SIGSTOP)
                    stopped, times["stopped"] = True, since
                if stopped and "continued" not in times and since > STOPPED_AFTER + STOPPED_FOR:
                    os.kill(pid, signal.SIGCONT)
                    times["continued"] = since
            drop(file, inbox)
        time.sleep(25)
        times["ended"] = time.time()
        (place / "times.json").write_text(json.dumps(times))
        subprocess.run([sys.executable, "-B", Path(__file__).with_name("draw.py"), url, place / "times.json"], check=True)


main(Path(sys.argv[1]).resolve())
