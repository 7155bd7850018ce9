# Runs at every start, before main.py or the prompt. Nothing here may fail: a board must always reach its prompt.
