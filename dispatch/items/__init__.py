"""Service items 政务服务事项: the catalogue and its versions, applications, the three lists; on the same case core."""
