"""Keras files: looked at without Keras first, then loaded in a process of their own.

- `files`: what a file is and holds, read with zipfile, json and h5py alone;
- `process`: the child process, seen from here;
- `child`: the child itself, the only module that imports TensorFlow and Keras.
"""
