"""The demo: the whole system with real parts on real weather, attacked while it runs, and then audited.

plan        what runs for how long and what goes wrong when: plain numbers
world       starts, cuts, kills and stops the parts
attacker    forged messages (pure), and the client that sends them
evidence    reads what came out: the gateway's database, a board's flash, the chain
accounting  compares it with what the sensors measured and the attacker sent (pure)
report      the table and summary.json
progress    what one sees meanwhile
run         the story, in order
"""
