"""`python -m trigpoint_tools.load`: send signed statements of many boards to a broker, and time the gateway's acks.

The boards must be known to the gateway: with --register they are put into its database as if the chain had told of
them, which is for benchmarks only, and before the gateway is started.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from trigpoint import keyfiles
from trigpoint.errors import OperatorError

from trigpoint_tools.load.publisher import LoadError, Publisher
from trigpoint_tools.load.statements import Shape, register, supply

CACHE = Path("build/load")


def main() -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m trigpoint_tools.load",
        description="Send signed statements of many boards to a broker (without TLS), and time the gateway's acks.",
        epilog="Example: python -m trigpoint_tools.load --register gw/data/trigpoint.db --boards 1000 --each 20; "
        "trigpoint gateway run gw & "
        "python -m trigpoint_tools.load --broker 127.0.0.1:1883 --link-key gw/keys/link.pem --boards 1000 --each 20",
    )
    parser.add_argument("--broker", metavar="HOST:PORT", help="where to send them")
    parser.add_argument("--link-key", type=Path, metavar="FILE", help="the gateway's link key, which makes the acks")
    parser.add_argument("--register", type=Path, metavar="DATABASE", help="make the boards known to a gateway, and end")
    parser.add_argument("--boards", type=int, default=1_000, help="how many boards (default 1000)")
    parser.add_argument("--each", type=int, default=20, help="statements of each board (default 20)")
    parser.add_argument("--readings", type=int, default=18, help="readings in a statement (default 18)")
    parser.add_argument("--from-seq", type=int, default=0, help="the first statement to send (default 0)")
    parser.add_argument("--rate", type=float, help="statements in a second (default: as many as get through)")
    parser.add_argument("--window", type=int, default=4_000, help="statements on the way at most (default 4000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    options = parser.parse_args()
    loads = supply(CACHE, Shape(options.boards, options.each, options.readings), lambda line: print(line, flush=True))
    if options.register:
        register(options.register, loads)
        return 0
    if not options.broker or not options.link_key:
        parser.error("say where to send them: --broker HOST:PORT --link-key FILE")
    host, _, port = options.broker.rpartition(":")
    try:
        publisher = Publisher(host, int(port), loads, keyfiles.load_link_key(options.link_key), window=options.window)
        round_s = options.boards / options.rate if options.rate else 0.0
        timing = publisher.run(options.from_seq, options.each - options.from_seq, round_s=round_s)
    except (LoadError, OperatorError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    results = {
        "statements": timing.statements,
        "seconds": round(timing.seconds, 3),
        "statements_per_s": round(timing.statements / timing.seconds),
        "readings_per_s": round(timing.statements * options.readings / timing.seconds),
        "ack_ms_p50": round(timing.delay_ms(0.5), 1),
        "ack_ms_p99": round(timing.delay_ms(0.99), 1),
        "sent_again": timing.resent,
    }
    if options.json:
        print(json.dumps(results))
    else:
        for name, value in results.items():
            print(f"{name:>18}  {value:,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
