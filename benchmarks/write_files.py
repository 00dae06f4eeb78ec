"""Create the files a listing names, of the sizes it names: what any writer of them must do.

python benchmarks/write_files.py LISTING OUT
"""

import os
import sys
from pathlib import Path

flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
content = memoryview(b"0 0.123456 0.123456 0.123456 0.123456\n" * 100_000)
made = set()
with Path(sys.argv[1]).open() as listing:
    for line in listing:
        size, path = line.rstrip("\n").split("\t", 1)
        path = f"{sys.argv[2]}/{path}"
        folder = path.rpartition("/")[0]
        if folder not in made:
            Path(folder).mkdir(parents=True, exist_ok=True)
            made.add(folder)
        file = os.open(path, flags, 0o644)
        os.write(file, content[: int(size)])
        os.close(file)
