package objects

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const amazon = "s3.amazonaws.com"

// sumHeader is where an object carries the SHA-256 of its content, so that it need not be read to be known.
const sumHeader = "Refold-Sha256"

// bucket is a Store in S3-compatible storage.
type bucket struct {
	client *minio.Client
	bucket string
	prefix string // empty, or with a slash at its end
}

func openS3(address string) (Store, error) {
	at, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("%w: %q", ErrURL, redacted(address))
	}
	query := at.Query()
	for name := range query {
		if !slices.Contains([]string{"endpoint", "region", "insecure"}, name) {
			return nil, fmt.Errorf("%w: %q is no setting of S3: use endpoint, region and insecure; credentials come from the environment", ErrURL, name)
		}
	}
	insecure, err := strconv.ParseBool(or(query.Get("insecure"), "false"))
	if at.Host == "" || at.User != nil || err != nil {
		return nil, fmt.Errorf("%w: %q: use s3://bucket/prefix?endpoint=host:port&insecure=false; credentials come from the environment", ErrURL, redacted(address))
	}
	sources := []credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}}
	if query.Get("endpoint") == "" {
		sources = append(sources, &credentials.IAM{}) // elsewhere there is nobody to ask, and the question takes its time
	}
	client, err := minio.New(or(query.Get("endpoint"), amazon), &minio.Options{
		Creds:  credentials.NewChainCredentials(sources),
		Secure: !insecure, Region: query.Get("region"),
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	b := &bucket{client: client, bucket: at.Host}
	if prefix := strings.Trim(at.Path, "/"); prefix != "" {
		b.prefix = prefix + "/"
	}
	return b, nil
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// String implements Store.
func (b *bucket) String() string {
	return "s3://" + b.bucket + "/" + b.prefix + " at " + b.client.EndpointURL().Host
}

// Put implements Store. The server checks the content against its checksum, and shows an object only when it is whole.
func (b *bucket) Put(ctx context.Context, name string, body []byte) error {
	if err := valid(name); err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	digest := hex.EncodeToString(sum[:])
	there, err := b.client.StatObject(ctx, b.bucket, b.prefix+name, minio.StatObjectOptions{})
	if err == nil {
		if there.Size != int64(len(body)) || there.UserMetadata[sumHeader] != digest {
			return fmt.Errorf("write %s: %w", name, ErrDiffers)
		}
		return nil
	}
	if !absent(err) {
		return b.failed("write", name, err)
	}
	_, err = b.client.PutObject(ctx, b.bucket, b.prefix+name, bytes.NewReader(body), int64(len(body)), minio.PutObjectOptions{
		ContentType: "application/octet-stream", UserMetadata: map[string]string{sumHeader: digest},
		SendContentMd5: true, DisableMultipart: true,
	})
	if err != nil {
		return b.failed("write", name, err)
	}
	return nil
}

func (b *bucket) failed(what, name string, err error) error {
	if absent(err) {
		return fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	return fmt.Errorf("%s %s in %s: %w", what, name, b, err)
}

func absent(err error) bool { return minio.ToErrorResponse(err).Code == minio.NoSuchKey }

// Get implements Store.
func (b *bucket) Get(ctx context.Context, name string, sizeMax int64) ([]byte, error) {
	if err := valid(name); err != nil {
		return nil, err
	}
	object, err := b.client.GetObject(ctx, b.bucket, b.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return nil, b.failed("read", name, err)
	}
	defer func() { _ = object.Close() }()
	body, err := readAtMost(object, sizeMax)
	if err != nil {
		return nil, b.failed("read", name, err)
	}
	return body, nil
}

// Stat implements Store.
func (b *bucket) Stat(ctx context.Context, name string) (Info, error) {
	if err := valid(name); err != nil {
		return Info{}, err
	}
	info, err := b.client.StatObject(ctx, b.bucket, b.prefix+name, minio.StatObjectOptions{})
	if err != nil {
		return Info{}, b.failed("look at", name, err)
	}
	return Info{name, info.Size, info.LastModified}, nil
}

// List implements Store.
func (b *bucket) List(ctx context.Context, prefix string) ([]Info, error) {
	var out []Info
	for info := range b.client.ListObjectsIter(ctx, b.bucket, minio.ListObjectsOptions{Prefix: b.prefix + prefix, Recursive: true}) {
		if info.Err != nil {
			return nil, b.failed("list", prefix, info.Err)
		}
		out = append(out, Info{strings.TrimPrefix(info.Key, b.prefix), info.Size, info.LastModified})
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Delete implements Store.
func (b *bucket) Delete(ctx context.Context, name string) error {
	if err := valid(name); err != nil {
		return err
	}
	if err := b.client.RemoveObject(ctx, b.bucket, b.prefix+name, minio.RemoveObjectOptions{}); err != nil && !absent(err) {
		return b.failed("delete", name, err)
	}
	return nil
}
