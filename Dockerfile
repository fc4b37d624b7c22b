# An image of the program and the libraries that it needs, and nothing else:
#   docker build --build-arg GLIMPSE_COMMIT=$(git rev-parse HEAD) -t glimpse .
#   docker run -p 127.0.0.1:9292:9292 -v glimpse:/data -e ALLOW_UNAUTHENTICATED=true glimpse
FROM rust:1.94-bookworm AS build
WORKDIR /src
COPY . .
ARG GLIMPSE_COMMIT=
RUN cargo build --locked --release
# The root of the image: the program, its libraries at their paths, the certificates of the system
# (for Keystone and PostgreSQL), a user of its own, and a folder in which that user may write.
RUN program=/src/target/release/glimpse root=/image \
    && mkdir -p $root/data $root/etc/ssl/certs $root/tmp $root/usr/bin \
    && strip -o $root/usr/bin/glimpse $program \
    && ldd $program | grep -o '/[^ ]*' | xargs -I{} cp -L --parents {} $root \
    && cp -L /etc/ssl/certs/ca-certificates.crt $root/etc/ssl/certs/ \
    && echo 'glimpse:x:10001:10001::/data:/usr/bin/glimpse' > $root/etc/passwd \
    && echo 'glimpse:x:10001:' > $root/etc/group \
    && echo 'hosts: files dns' > $root/etc/nsswitch.conf \
    && chmod 1777 $root/tmp

FROM scratch
COPY --from=build /image /
COPY --from=build --chown=10001:10001 /image/data /data
COPY migrations/seeds /usr/share/glimpse/seeds
USER 10001:10001
WORKDIR /data
VOLUME /data
# Others reach a container only where its port is published, but what it asks of them is up to AUTH.
# The default of DATABASE_URL lies in the working folder. Set here, it would speak against DATABASE_URL_FILE.
ENV LISTEN=0.0.0.0:9292
EXPOSE 9292
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s CMD ["/usr/bin/glimpse", "health"]
ENTRYPOINT ["/usr/bin/glimpse"]
CMD ["serve"]
