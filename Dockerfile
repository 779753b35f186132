# The image of both processes. Entry point: vipring; the manifests pass "speaker …" or "controller …".
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements-image.lock pyproject.toml README.md LICENSE ./
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements-image.lock \
 && /venv/bin/pip install --no-cache-dir hatchling
COPY . .
# Bytecode is compiled here: the root file system is read-only later.
RUN /venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
 && /venv/bin/pip uninstall --yes hatchling \
 && /venv/bin/python -m compileall -q /venv/lib

FROM python:3.11-slim
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["vipring"]
