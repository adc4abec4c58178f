"""Work that the tests of this folder send to other processes."""

import os
import sys
import threading
import time

made = []


def prepare(payload):
    """Make what is shared, in the way the payload says."""
    made.append(os.getpid())
    if payload.get("fails"):
        raise ValueError("on purpose")
    if payload.get("thread"):
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    if payload.get("slow"):
        time.sleep(600)
    made.extend(map(len, payload.get("long", ())))


def parent(payload, link):
    return {"made": made, "parent": os.getppid(), "group": os.getpgid(0), "threads": os.environ["OMP_NUM_THREADS"]}


def square(payload, link):
    return payload["x"] ** 2


def noisy(payload, link):
    print('{"result": "forged"}')
    os.write(1, b'{"result": "forged too"}\n')
    os.system('echo \'{"error": "forged"}\'')
    sys.stderr.write("to the log\n")
    link.emit({"step": 1})
    return "true"


def fails(payload, link):
    raise KeyError("on purpose")


def explains(payload, link):
    from whet.errors import StudyError

    raise StudyError("two\nlines")


def waits(payload, link):
    link.emit({"waiting": os.getpid()})
    return link.wait(60)


def dies(payload, link):
    os.kill(os.getpid(), 9)


def share(payload, link):
    import numpy as np

    np.ones((50, 50)) @ np.ones((50, 50))
    return {k: v for k, v in os.environ.items() if k.endswith("_NUM_THREADS") or k == "OMP_WAIT_POLICY"}


def lingers(payload, link):
    threading.Thread(target=time.sleep, args=(60,)).start()
    return "left a thread behind"


class Holder:
    def method(self):
        return 1

    @staticmethod
    def static(payload, link):
        return "static"


holder = Holder()


def forks(payload, link):
    """Leave a child behind that holds every open file, and die."""
    pid = os.fork()
    if not pid:
        time.sleep(600)
    link.emit({"forked": pid})
    if payload["dies"]:
        os.kill(os.getpid(), 9)
    time.sleep(600)


def silent(payload, link):
    link.begin()
    for _ in range(payload["steps"]):
        time.sleep(0.02)
        link.further()
    if payload["hangs"]:
        time.sleep(600)
    link.end()
    return "done"


def grows(payload, link):
    link.begin()
    kept = []
    for _ in range(payload["times"]):
        kept.append(bytearray(b"x") * 10_000_000)
        time.sleep(0.01)
    link.end()
    if payload["keeps"]:
        sys.modules["kept"] = kept
    return len(kept)


def long(payload, link):
    return os.environ["LONG"]
