"""Ctrl-C means the same however a program was started."""

from __future__ import annotations

import signal
import threading


def answer_interrupts() -> None:
    """Let SIGINT raise KeyboardInterrupt. A shell starts `command &` of a script with SIGINT ignored, and Python leaves
    it so: a run that was started thus could not be stopped in order."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
