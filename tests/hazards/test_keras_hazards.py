"""Keras by itself."""

from __future__ import annotations

import pytest

from tests.hazards.processes import run_python

_LOOKUP = """
import json, sys, zipfile
import keras
folder = sys.argv[1]
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
model.compile(loss="mse")
model.save(folder + "/good.keras")
lookup = {
    "module": "keras.layers", "class_name": "StringLookup", "registered_name": None,
    "config": {"name": "read", "vocabulary": folder + "/canary.txt"},
}
with zipfile.ZipFile(folder + "/good.keras") as good:
    with zipfile.ZipFile(folder + "/evil.keras", "w") as evil:
        for name in good.namelist():
            data = good.read(name)
            if name == "config.json":
                config = json.loads(data)
                config["compile_config"]["loss"] = lookup
                data = json.dumps(config)
            evil.writestr(name, data)
try:
    keras.models.load_model(folder + "/evil.keras", safe_mode=True)
except Exception as error:
    print("canary" in str(error))
else:
    print(False)
"""


@pytest.mark.slow
@pytest.mark.hazard("keras-compile-config")
def test_safe_mode_makes_what_the_loss_names(reproduces, tmp_path):
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    done = run_python(_LOOKUP, str(tmp_path), environment=quiet)
    assert done.returncode == 0, done.stderr
    made = done.stdout.splitlines()[-1] == "True"
    reproduces(made, "a layer that reads a file is made, and looks for the file")
