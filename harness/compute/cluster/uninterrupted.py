"""Loaded by workers on this machine as they start: Ctrl-C, which they get too, is for the main process."""

import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)
