//! A register whose store numbers its versions (etcd's mod revision, Consul's ModifyIndex).
