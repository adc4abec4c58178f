"""Work that the tests of this folder send to other processes."""

import os
import sys
import threading
import time


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
    return {k: v for k, v in os.environ.items() if k.endswith("_NUM_THREADS")}


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
