"""Import a COCO folder by Datumaro and export it; the two are timed apart.

PEERS/bin/python benchmarks/peer_datumaro.py FOLDER OUT [FORMAT, coco_instances unless told]
"""

import json
import sys
import time

import datumaro  # type: ignore[import-not-found, unused-ignore]

start = time.perf_counter()
dataset = datumaro.Dataset.import_from(sys.argv[1], "coco_instances")
dataset.init_cache()
imported = time.perf_counter()
form = sys.argv[3] if len(sys.argv) > 3 else "coco_instances"
dataset.export(sys.argv[2], form, save_media=False)
exported = time.perf_counter()
times = {"import_s": imported - start, "export_s": exported - imported, "images": len(dataset)}
print(json.dumps(times))
