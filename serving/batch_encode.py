"""Encode or score a data set of any size: Apache Beam's RunInference over an exported SavedModel.

    python serving/batch_encode.py --model models/vae --input 'images-*.npz' --output encoded/
    python serving/batch_encode.py --model gs://b/vae/1 --input 'gs://b/*.tfrecord' --key id \\
        --signature score --output gs://b/scores --runner DataflowRunner --project p --region r

On one machine, `pip install keras-vae[batch]` (or apache-beam, pyarrow and tensorflow) is all;
workers elsewhere need these three, and neither Keras nor the package. Options that this script does
not know (`--direct_num_workers 2 --direct_running_mode multi_processing`, `--runner FlinkRunner
--flink_master host:8081`, ...) go to Beam. The pipeline is the same everywhere.

**Input.** A row has the inputs of the signature by name (`x`, `condition`, `size_factor`); names,
dtypes and shapes are read from the SavedModel. A file's first bytes tell its kind:

* `.npz`: an array for each input, rows first. `np.savez` is read in slices of the file; of a
  compressed one each shard decompresses its arrays from the start.
* Parquet: a column for each input: numbers, (nested) lists of numbers, or raw bytes. Row groups of
  about `--shard-rows` rows are read fastest. Arrow cannot read a null in fixed-size lists.
* TFRecord (or `.gz`) of `tf.train.Example`: a feature for each input: a float list, an int64 list,
  or one value of raw bytes.

Raw bytes are one unsigned byte a value, or little-endian values of the input's dtype: their length
tells. Flat values take the input's shape in row-major order. Values are converted to the input's
dtype if that keeps them (float64 is rounded to float32), and never scaled.

**Output.** `<output>/<file>.<first row>.parquet` has the column `key` and one for each output. The
key is the column `--key`, else `<file>:<row>`; it should be unique. A row without an answer never
stops the job: it is a line `{"key", "reason", "detail"}` in `<output>/_bad/`, with a reason of
`REASONS`. Readers of Parquet skip names that begin with `_`, so the folder reads as one table. The
`seed` of a row is made of `--seed` and its key: what is drawn for it depends on neither the runner
nor the batch nor a restart.

**Restart.** Files are cut into shards of `--shard-rows` rows, always in the same places. A shard of
input becomes a file of output, which appears by a rename, after its bad rows. So a crash leaves
whole files only, and the same command again does the shards that are missing. `_job.json` keeps
another model, signature, key or seed out of the folder. A shard that cannot be read counts as one
bad row, and the next run tries it again. One job at a time may write into a folder, and its input
must not change between runs.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from os.path import basename
from typing import final

import apache_beam as beam
import batch_files
import batch_model
import batch_parts
import batch_plan
import batch_rows
import batch_sources
import batch_tfrecord
from apache_beam.internal.cloudpickle import register_pickle_by_value
from apache_beam.metrics.metric import Metrics, MetricsFilter
from apache_beam.ml.inference.base import RunInference
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState
from batch_model import SavedModelHandler
from batch_parts import REASONS, Bad, Job, JobError, Shard, Slice
from batch_plan import claim, plan, source
from batch_rows import inputs_of, seed_of

__all__ = ["REASONS", "Job", "JobError", "main", "plan", "run", "seed_of"]

# Workers have no copy of this folder: the code travels with the job.
MODULES = (
    batch_files,
    batch_model,
    batch_parts,
    batch_plan,
    batch_rows,
    batch_sources,
    batch_tfrecord,
)


# "DirectRunner" tries to download another runner, Prism, before it falls back to this one.
_RUNNER = "--runner=FnApiRunner"


def run(job: Job, beam_options: Sequence[str] = ()) -> dict[str, int]:
    """Runs the job to its end and returns Beam's counters of this run.

    `rows_read`, `rows_answered`, `rows_bad`, `bad_<reason>`, `shards_written`, `shards_skipped`.

    Raises:
        JobError: the output folder belongs to another job.

    Example:
        >>> run(plan("models/vae", ["images-*.npz"], "encoded"))["rows_answered"]
        60000
    """
    claim(job)
    for module in MODULES:
        register_pickle_by_value(module)
    pipeline = beam.Pipeline(options=PipelineOptions([_RUNNER, *beam_options]))
    _ = (
        pipeline
        | "Files" >> beam.Create(list(job.paths))
        | "Split" >> beam.ParDo(Split(job))
        | "Spread" >> beam.Reshuffle()
        | "Read" >> beam.ParDo(Read(job))
        | "Answer" >> RunInference(SavedModelHandler(job))
        | "Write" >> beam.ParDo(Write(job))
    )
    result = pipeline.run()
    if result.wait_until_finish() != PipelineState.DONE:
        raise RuntimeError(f"the pipeline ended as {result.state}")
    found = result.metrics().query(MetricsFilter().with_namespace("batch_encode"))["counters"]
    return {counter.key.metric.name: counter.result for counter in found}


@final
class Split(beam.DoFn):
    """From a file to its shards that have no answers yet."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def process(self, path: str) -> Iterator[Shard]:
        try:
            for shard in source(path, self.job).shards():
                if batch_files.is_written(self.job, shard):
                    _count("shards_skipped")
                else:
                    yield shard
        except batch_sources.UNREADABLE as error:
            yield Shard(path=path, start=0, rows=0, at=0, problem=_text(error))


@final
class Read(beam.DoFn):
    """From a shard to its rows: the good ones as arrays, the bad ones with their reasons."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def process(self, shard: Shard) -> Iterator[Slice]:
        name, raw = basename(shard["path"]), []
        if not shard["problem"]:
            try:
                raw = source(shard["path"], self.job).read(shard)
            except batch_sources.UNREADABLE as error:
                shard = Shard(**(shard | {"problem": _text(error)}))
        places = [f"{name}:{shard['start'] + i}" for i in range(len(raw))]
        keys, values, bad = inputs_of(raw, places, self.job)
        if shard["problem"]:
            bad = [Bad(key=name, reason="unreadable_file", detail=shard["problem"])]
        yield Slice(shard=shard, keys=keys, values=values, bad=bad)


@final
class Write(beam.DoFn):
    """From the answers of a shard to its files; counts rows once they are there."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def process(self, answers: Slice) -> None:
        batch_files.write(self.job, answers)
        good, bad = len(answers["keys"]), answers["bad"]
        _count("shards_written", int(not answers["shard"]["problem"]))
        _count("rows_answered", good)
        _count("rows_bad", len(bad))
        _count("rows_read", good + len(bad))
        for row in bad:
            _count(f"bad_{row['reason']}")


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _count(name: str, by: int = 1) -> None:
    Metrics.counter("batch_encode", name).inc(by)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. 0: every row was answered or reported; 2: the job makes no sense."""
    options, beam_options = _parser().parse_known_args(arguments)
    try:
        job = plan(
            options.model,
            options.input,
            options.output,
            options.signature,
            options.key,
            options.seed,
            options.batch_size,
            options.shard_rows,
        )
        _check_options(beam_options)
        counts = run(job, beam_options)
    except JobError as error:
        print(f"batch_encode: {error}", file=sys.stderr)
        return 2
    print(", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    return 0


def _check_options(beam_options: Sequence[str]) -> None:
    """Beam drops what it does not know; a remote runner may know more of them than Beam."""
    options = PipelineOptions([_RUNNER, *beam_options])
    known = options.get_all_options()
    unknown = options.get_all_options(retain_unknown_options=True).keys() - known.keys()
    if unknown and known["runner"] == "FnApiRunner":
        raise JobError(f"options: those of --help and of Beam expected, got {sorted(unknown)}")


def _parser() -> argparse.ArgumentParser:
    first, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="batch_encode",
        description=first,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # Beam's options begin like these
    )
    parser.add_argument("--model", required=True, help="a version's folder, or the model's")
    parser.add_argument("--input", required=True, nargs="+", help="files or patterns of files")
    parser.add_argument("--output", required=True, help="folder")
    parser.add_argument("--signature", default="encode", help="[encode]")
    parser.add_argument("--key", help="column of the rows' keys [<file>:<row>]")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn [0]")
    parser.add_argument("--batch-size", type=int, default=256, help="rows in a call [256]")
    parser.add_argument("--shard-rows", type=int, default=4096, help="rows in a file [4096]")
    return parser


if __name__ == "__main__":
    sys.exit(main())
