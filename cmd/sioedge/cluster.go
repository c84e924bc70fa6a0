package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis"
)

// cluster returns the adapter that adapter.url names, nil for none.
func cluster(l *config.Loaded, log *slog.Logger) (rooms.Adapter, error) {
	addr, err := adapterURL(l.Adapter.URL, l.Getenv("REDIS_URL"))
	if err != nil {
		return nil, &config.Fault{Key: "adapter.url", Err: err}
	}
	if addr == "" {
		return nil, nil
	}
	if a := l.Cluster.Advertise; a != "" {
		u, err := url.Parse(a)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
			return nil, &config.Fault{Key: "cluster.advertise", Err: fmt.Errorf("%q is not a URL such as http://10.0.0.5:3000", a)}
		}
	}
	a, err := redis.Parse(addr, redis.Options{Prefix: l.Adapter.Prefix, MaxSubscriptions: l.Adapter.MaxSubscriptions, Logger: log})
	if err != nil {
		return nil, &config.Fault{Key: "adapter.url", Err: err}
	}
	return a, nil
}

// adapterURL returns the URL that the adapter's setting means, "" for none. A kind
// without an address, such as redis+streams, takes that of the environment.
func adapterURL(set, environment string) (string, error) {
	switch {
	case set == "memory" || strings.Contains(set, "://"):
		return strings.TrimPrefix(set, "memory"), nil
	case !strings.HasPrefix(set, "redis"):
		return "", fmt.Errorf("%q is neither memory nor a URL of Redis", set)
	}
	scheme, rest, ok := strings.Cut(cmp.Or(environment, "redis://localhost:6379"), "://")
	if !ok {
		return "", errors.New("$REDIS_URL is not a URL")
	}
	if _, variant, ok := strings.Cut(set, "+"); ok {
		scheme += "+" + variant
	}
	return scheme + "://" + rest, nil
}
