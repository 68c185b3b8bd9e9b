"""The offline kit: wheels for machines without a network, and how they are gathered and checked."""
