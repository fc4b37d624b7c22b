"""Takes TLS off what it passes on: tls.py CERTIFICATE KEY TARGET_HOST TARGET_PORT

Prints the port that it listens on, and ends with its standard input.
"""

import asyncio
import os
import ssl
import sys

certificate, key, host, port = sys.argv[1:]


async def pass_on(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()


async def serve(reader, writer):
    target_reader, target_writer = await asyncio.open_connection(host, int(port))
    await asyncio.gather(pass_on(reader, target_writer), pass_on(target_reader, writer))


async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    asyncio.get_running_loop().add_reader(sys.stdin, lambda: os._exit(0))
    await server.serve_forever()


asyncio.run(main())
