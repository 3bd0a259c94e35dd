"""A Kafka broker in a process of its own, so that it can be killed: see `KafkaRoad`.

It says its address, and ends with its standard input.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from simulator.kafka_broker import KafkaBroker


def main() -> None:
    with KafkaBroker() as broker:
        print(broker.address, flush=True)
        sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
