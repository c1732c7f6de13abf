"""x"""


def run_replay(options):
    return 1
