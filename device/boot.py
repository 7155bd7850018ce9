# Runs at every start, before main.py or the prompt. It never fails and is never updated: a board must always reach its
# prompt.
try:
    try:
        import slots

        slots.choose()
    except KeyboardInterrupt:
        import slots

        slots.choose()
        if not slots.improv():
            raise
except Exception as error:
    print("boot:", error)
