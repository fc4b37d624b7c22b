-- Deleted images lie together in time and by name, and a list that leaves them out would pass over
-- all of them: in every order but that of ids they lie apart from the others. Who lists both merges
-- the two.
DROP INDEX images_by_created_at;
CREATE INDEX images_by_created_at
    ON images (deleted, created_at, id, name, status, disk_format, container_format, size, updated_at);
DROP INDEX images_by_size;
CREATE INDEX images_by_size
    ON images (deleted, size, created_at, id, name, status, disk_format, container_format, updated_at);
DROP INDEX images_by_updated_at;
CREATE INDEX images_by_updated_at
    ON images (deleted, updated_at, created_at, id, name, status, disk_format, container_format, size);
DROP INDEX images_by_name;
CREATE INDEX images_by_name
    ON images (deleted, name, created_at, id, status, disk_format, container_format, size, updated_at);
DROP INDEX images_by_status;
CREATE INDEX images_by_status
    ON images (deleted, status, created_at, id, disk_format, container_format, size, updated_at);
DROP INDEX images_by_container_format;
CREATE INDEX images_by_container_format
    ON images (deleted, container_format, created_at, id, status, disk_format, size, updated_at);
DROP INDEX images_by_disk_format;
CREATE INDEX images_by_disk_format
    ON images (deleted, disk_format, created_at, id, status, container_format, size, updated_at);
DROP INDEX images_public;
CREATE INDEX images_public ON images (deleted, created_at, id) WHERE is_public;
DROP INDEX images_changed_late;
CREATE INDEX images_changed_late
    ON images (deleted, created_at, id, name, status, disk_format, container_format, size, updated_at)
    WHERE updated_at >= date(created_at, '+2 days');
DROP INDEX images_changed_late_by_name;
CREATE INDEX images_changed_late_by_name
    ON images (deleted, name, created_at, id, status, disk_format, container_format, size, updated_at)
    WHERE updated_at >= date(created_at, '+2 days');

-- Of the images with a common name, all may be private ones of others.
DROP INDEX images_by_equalities;
CREATE INDEX images_by_equalities
    ON images (deleted, is_public, coalesce(disk_format, ''), coalesce(container_format, ''), status,
        created_at, id, disk_format, container_format, size, updated_at);
DROP INDEX images_by_name_and_equalities;
CREATE INDEX images_by_name_and_equalities
    ON images (name, deleted, is_public, coalesce(disk_format, ''), coalesce(container_format, ''), status,
        created_at, id, size, updated_at);

-- Most images ask for no memory and no disk, and are not protected.
CREATE INDEX images_by_min_ram ON images (min_ram) WHERE min_ram <> 0;
CREATE INDEX images_by_min_disk ON images (min_disk) WHERE min_disk <> 0;
CREATE INDEX images_protected ON images (protected) WHERE protected;
