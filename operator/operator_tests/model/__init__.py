"""A cluster in one process and virtual time, for the whole operator but Kopf to run against.

`server.py` is the API server, `cluster.py` what works on it besides the operator (KubeRay, the
kubelets, the garbage collector, the heads), `life.py` the operator from its start to its death,
`scenarios.py` what people do, `virtual_time.py` the clock. What the model claims of Kubernetes is
held against a real API server by `test_model_is_honest.py`.
"""
