"""Syncs what a peer wrote to the disk, as Icecap does before it commits."""

import os


def sync_tree(folder):
    for root, _, files in os.walk(folder):
        for name in [*files, "."]:
            handle = os.open(os.path.join(root, name), os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
