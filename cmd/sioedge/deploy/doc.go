// Package deploy has files to run the server with: a unit of systemd, kernel settings,
// an image, Compose, Kubernetes, proxies, Prometheus and Grafana. Those of proxies are
// tested in rooms/redis/interop, behind real ones.
package deploy
