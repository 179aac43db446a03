# syntax=docker/dockerfile:1
# 1 段目でコンパイルし、2 段目は glibc だけの土台に実行ファイルを 1 つ置く。
FROM oven/bun:1.4.5 AS build
WORKDIR /src
COPY package.json bun.lock bunfig.toml ./
RUN bun install --frozen-lockfile
COPY . .
# 元の版。.git は像に入れないので、組み立てる側が渡す。
ARG COMMIT=unknown
RUN bun scripts/train.ts && COMMIT="$COMMIT" bun scripts/build.ts --outfile=/out/usr/bin/iris-serving \
 && ln -s iris-serving /out/usr/bin/tensorflow_model_server \
 && ln -s iris-serving /out/usr/bin/tf_serving_entrypoint.sh

FROM gcr.io/distroless/base-debian12
LABEL org.opencontainers.image.title="iris-serving" \
      org.opencontainers.image.description="A Bun-native model server with TensorFlow Serving's REST and gRPC APIs" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/usr/bin/ /usr/bin/
USER 65532:65532
EXPOSE 8500 8501
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/bin/iris-serving", "health"]
ENTRYPOINT ["/usr/bin/tf_serving_entrypoint.sh"]
