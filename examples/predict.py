"""Load a bundle and answer for one DICOM object.

    python examples/predict.py BUNDLE INPUT.dcm

Reference bundles are trained on synthetic phantoms: not for clinical use.
"""

from __future__ import annotations

import sys

import medsdk


def main(bundle: str, source: str) -> int:
    """Print one line a frame; the exit status is that of `docs/conventions.md`."""
    try:
        with medsdk.load(bundle) as engine:
            print(engine.provenance.notice)
            print(engine.plan)
            for finding in engine.predict_each(source):
                answer = finding.label if finding.label is not None else finding.reason
                print(finding.frame_number, finding.status, answer, finding.probability)
    except medsdk.MedsdkError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
