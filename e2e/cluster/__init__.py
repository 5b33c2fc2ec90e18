"""A real Kubernetes with KubeRay for development and end-to-end tests.

``up`` makes it, ``down`` takes it away. Where no Docker engine runs, the components are built from
their Go modules and run as plain processes of this machine; nothing is downloaded but modules and
Debian packages. Everything it starts lives under one state folder, so that what a crash leaves
behind can be found and removed. README.md beside this file tells how to use it.
"""
