-- A dozen images to try the service with; the first is the example of the API's own documentation.
-- Portable: the same file loads on SQLite and PostgreSQL. Copy its style for seeds of your own.

INSERT INTO images
    (id, name, status, disk_format, container_format, size, virtual_size, checksum, owner,
     is_public, protected, min_ram, min_disk, created_at, updated_at, properties)
VALUES
    ('3c3d1d01-b48a-4639-8a88-08be3b9b5d78', 'cirros', 'active', 'qcow2', 'bare', 13167616, NULL,
     '64d7c1cd2b6f60c92c14662941cb7913', '23f4cb75768d4febb39542ef6fe169f3', TRUE, FALSE, 0, 0,
     '2016-05-22T06:04:20.425843', '2016-05-22T06:04:22.719791', '{}'),
    ('7b1e2f64-9a0d-4c53-8f3e-5d6a1b2c3d4e', 'ubuntu-16.04-server-amd64', 'active', 'qcow2', 'bare', 323485696, 2361393152,
     '2d6d3c4b7a1f4f0e9c8b5a6f7e8d9c0b', '23f4cb75768d4febb39542ef6fe169f3', TRUE, TRUE, 512, 3,
     '2016-06-14T09:12:45.003120', '2016-06-14T09:15:02.481007',
     '{"os_distro": "ubuntu", "os_version": "16.04", "architecture": "x86_64", "hw_disk_bus": "virtio"}'),
    ('c2f0b9a8-3d47-4be1-9a62-7e1f0d9c8b7a', 'debian-8-openstack-amd64', 'active', 'qcow2', 'bare', 569441280, 2147483648,
     '0f1e2d3c4b5a69788796a5b4c3d2e1f0', '23f4cb75768d4febb39542ef6fe169f3', TRUE, FALSE, 512, 2,
     '2016-06-05T17:40:11.920004', '2016-09-18T21:03:37.115290',
     '{"os_distro": "debian", "os_version": "8.5", "architecture": "x86_64"}'),
    ('5d9a7c3e-1b2f-4a68-b5d4-c3e2f1a09b8d', 'centos-7-x86_64-GenericCloud', 'active', 'raw', 'bare', 8589934592, 8589934592,
     '8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f', 'b0b1b2b3b4b54b6b8b7b8b9babbbcbdb', TRUE, FALSE, 1024, 8,
     '2016-03-30T11:25:00.000000', '2016-03-30T11:31:48.650000',
     '{"os_distro": "centos", "os_version": "7", "hw_qemu_guest_agent": "yes"}'),
    ('e8b4d1f2-6c3a-4975-8e0b-2f1d3c5a7b94', 'windows-server-2012-r2-eval', 'active', 'vhd', 'bare', 11854151680, 42949672960,
     'a1b2c3d4e5f60718293a4b5c6d7e8f90', 'b0b1b2b3b4b54b6b8b7b8b9babbbcbdb', FALSE, TRUE, 4096, 40,
     '2016-02-11T08:00:19.337712', '2016-02-12T14:22:05.000301',
     '{"os_type": "windows", "os_version": "6.3", "hw_disk_bus": "ide", "license_key": null}'),
    ('91f7e6d5-c4b3-42a1-80f9-e8d7c6b5a493', 'fedora-atomic-24', 'active', 'vmdk', 'ova', 674234368, 6442450944,
     'ffeeddccbbaa99887766554433221100', '23f4cb75768d4febb39542ef6fe169f3', FALSE, FALSE, 2048, 6,
     '2016-07-02T13:13:13.131313', '2016-07-02T13:20:00.000001',
     '{"os_distro": "fedora-atomic", "os_version": "24"}'),
    ('0a9b8c7d-6e5f-4d4c-9b3a-2f1e0d9c8b7a', 'cirros-0.3.4-x86_64-uec', 'active', 'ami', 'ami', 25165824, NULL,
     'eb9139e4942121f22bbc2afc0400b2a4', '23f4cb75768d4febb39542ef6fe169f3', TRUE, FALSE, 0, 0,
     '2016-01-04T10:00:00.250000', '2016-01-04T10:00:03.750000',
     '{"kernel_id": "b5c9d2e1-7f38-4a06-8d1b-3e2f4c5a6b70", "ramdisk_id": "d7e6f5a4-b3c2-41d0-9e8f-7a6b5c4d3e2f"}'),
    ('b5c9d2e1-7f38-4a06-8d1b-3e2f4c5a6b70', 'cirros-0.3.4-x86_64-uec-kernel', 'active', 'aki', 'aki', 4979632, NULL,
     '8a40c862b5735975d82605c1dd395796', '23f4cb75768d4febb39542ef6fe169f3', TRUE, FALSE, 0, 0,
     '2016-01-04T09:59:52.000000', '2016-01-04T09:59:53.500000', '{}'),
    ('d7e6f5a4-b3c2-41d0-9e8f-7a6b5c4d3e2f', 'cirros-0.3.4-x86_64-uec-ramdisk', 'active', 'ari', 'ari', 3740163, NULL,
     'be575a2b939972276ef675752936977f', '23f4cb75768d4febb39542ef6fe169f3', TRUE, FALSE, 0, 0,
     '2016-01-04T09:59:56.000000', '2016-01-04T09:59:57.250000', '{}'),
    ('4e3d2c1b-0a9f-4e8d-87c6-b5a493827160', '镜像-测试', 'active', 'iso', 'bare', 1513308160, NULL,
     '5f4e3d2c1b0a9f8e7d6c5b4a39281706', 'b0b1b2b3b4b54b6b8b7b8b9babbbcbdb', FALSE, FALSE, 1024, 0,
     '2016-08-21T03:45:59.999999', '2016-08-21T03:52:10.010010',
     '{"__os_type": "Linux", "__imagetype": "gold", "描述": "演示"}'),
    ('68a7b6c5-d4e3-42f1-80a9-b8c7d6e5f403', 'upload-in-progress', 'saving', 'qcow2', 'bare', NULL, NULL,
     NULL, '23f4cb75768d4febb39542ef6fe169f3', FALSE, FALSE, 0, 0,
     '2016-10-31T23:59:58.000000', '2016-10-31T23:59:59.000000', '{}'),
    ('17263544-5362-4718-89a0-b1c2d3e4f506', NULL, 'queued', NULL, NULL, NULL, NULL,
     NULL, 'b0b1b2b3b4b54b6b8b7b8b9babbbcbdb', FALSE, FALSE, 0, 0,
     '2016-11-01T00:00:00.000000', '2016-11-01T00:00:00.000000', '{}');

-- One that was deleted: hidden, unless changes-since or status=deleted asks for it.
INSERT INTO images
    (id, name, status, disk_format, container_format, size, checksum, owner, is_public, deleted,
     created_at, updated_at, deleted_at)
VALUES
    ('f9e8d7c6-b5a4-4392-8170-6f5e4d3c2b1a', 'ubuntu-14.04-server-amd64', 'deleted', 'qcow2', 'bare', 260571136,
     '6b7c8d9e0f1a2b3c4d5e6f708192a3b4', '23f4cb75768d4febb39542ef6fe169f3', TRUE, TRUE,
     '2015-04-20T12:00:00.000000', '2016-06-15T08:30:00.000000', '2016-06-15T08:30:00.000000');

-- The private Fedora image is shared with the second project.
INSERT INTO image_members (image_id, member, can_share) VALUES
    ('91f7e6d5-c4b3-42a1-80f9-e8d7c6b5a493', 'b0b1b2b3b4b54b6b8b7b8b9babbbcbdb', FALSE);
