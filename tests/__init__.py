from tests.watcher import watch

watch()
