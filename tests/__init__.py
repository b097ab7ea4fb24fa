import signal

from tests.support.watcher import watch

# Who starts the tests may ignore these, as shells have it in the background, and nohup. What the
# tests start would too; a handler, which does as little, is not inherited.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)
watch()
