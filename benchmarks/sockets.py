"""
What sockets cost while they are idle, and while others use the database.

Each part runs on real servers and a PostgreSQL of its own. Linux only.
"""

import argparse
import os
import sys
import tempfile
from importlib.util import find_spec

import busy
import idle
import postgres
import rounds
import side_by_side
import soak
from competitors import project
from real_server import COMMANDS
from stage import CHANNELS, DJANGO_SOCKET, OURS, Stage

PARTS = {"idle": idle, "busy": busy, "rounds": rounds, "soak": soak}

# Each peer has a cookie of its own, as long as there are no more.
LOGINS = 10_000


def main():
    options = _options()
    side_by_side.print_versions([OURS, CHANNELS, DJANGO_SOCKET])
    print(f"THREADS = {options.threads}")
    with postgres.cluster() as port, tempfile.NamedTemporaryFile("wb") as log:
        os.environ["BENCHMARK_POSTGRES_PORT"] = str(port)
        project.fill_database()
        cookies = project.more_cookies(LOGINS)
        database = postgres.connect(port)
        missed = []
        for server in filter(find_spec, options.servers):
            stage = Stage(server, database, cookies, options.threads, log)
            PARTS[options.part].run(stage, options)
            missed += stage.missed
        database.close()
    if missed:
        sys.exit("\n".join(["", "Missed:", *missed]))


def _options():
    parser = argparse.ArgumentParser(description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    for name, part in PARTS.items():
        subparser = parts.add_parser(name, help=part.__doc__, description=part.__doc__)
        subparser.add_argument(
            "--servers", nargs="+", choices=COMMANDS, default=COMMANDS
        )
        subparser.add_argument("--threads", type=int, default=8, help="of ours")
        part.add_arguments(subparser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
