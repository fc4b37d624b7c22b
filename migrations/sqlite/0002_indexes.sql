-- The orders: each column that can be sorted by, then what breaks its ties. An equality on the
-- first column leads straight to its page, a range to its rows.
--
-- Behind the orders of created_at, size and updated_at, and in the two indexes of equalities,
-- stand the other columns that the documented filters ask for, so that only rows that match them
-- are looked up.
CREATE INDEX images_by_created_at
    ON images (created_at, id, name, status, deleted, disk_format, container_format, size, updated_at);
CREATE INDEX images_by_size
    ON images (size, created_at, id, name, status, deleted, disk_format, container_format, updated_at);
CREATE INDEX images_by_updated_at
    ON images (updated_at, created_at, id, name, status, deleted, disk_format, container_format, size);
CREATE INDEX images_by_name ON images (name, created_at, id);
CREATE INDEX images_by_status ON images (status, created_at, id);
CREATE INDEX images_by_container_format ON images (container_format, created_at, id);
CREATE INDEX images_by_disk_format ON images (disk_format, created_at, id);

-- Any set of equalities as one prefix: values that are common alone may be rare together. Null is
-- '' here, because an index cannot be searched for null and a value at once.
CREATE INDEX images_by_equalities
    ON images (deleted, coalesce(disk_format, ''), coalesce(container_format, ''), status,
        created_at, id, name, disk_format, container_format, size, updated_at);
CREATE INDEX images_by_name_and_equalities
    ON images (name, deleted, coalesce(disk_format, ''), coalesce(container_format, ''), status,
        created_at, id, disk_format, container_format, size, updated_at);

-- What a list shows unless it is asked for more, and what callers see: deleted images may be most
-- of a catalog, and public ones few.
CREATE INDEX images_live ON images (created_at, id) WHERE NOT deleted AND status <> 'killed';
CREATE INDEX images_public ON images (created_at, id) WHERE is_public;
CREATE INDEX images_by_owner ON images (owner, created_at, id);
CREATE INDEX image_members_by_member ON image_members (member, image_id);
