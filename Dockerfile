# The image of both processes. Entry point: vipring; the manifests pass "speaker …" or "controller …".
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements-image.lock pyproject.toml README.md LICENSE ./
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements-image.lock
COPY . .
# The build's own tools come from the full lock, into an environment that is not shipped.
RUN python -m venv /build \
 && /build/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
 && /build/bin/python -m hatchling build -t wheel \
 && /venv/bin/pip install --no-cache-dir --no-deps dist/*.whl \
 && /venv/bin/python -m compileall -q /venv/lib

FROM python:3.11-slim
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["vipring"]
